//! What the tests share. Each test program uses a part of it.
#![allow(dead_code)]

pub(crate) mod dump;
pub(crate) mod file;
pub(crate) mod talk;
pub(crate) mod tshark;
pub(crate) mod ulpdu;
