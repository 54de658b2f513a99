//! What the two ends of the command say to each other.
//!
//! A connection opens with a [`Hello`] in the private data of the MPA Request; the Reply carries a
//! [`Welcome`], or a refusal in plain words when the connection is rejected. On a connection for files, each
//! Send then carries one [`Message`]. All of it is JSON, at most [`MESSAGE_MAX`] octets at a time.
//!
//! ```text
//!        client                                     server
//!        Put { name, size }  ------------------>
//!                            <------------------    Window { .. }
//!        RDMA Write into slot 0, Filled  ------>
//!        RDMA Write into slot 1, Filled  ------>
//!                            <------------------    Free              slot 0 has been stored
//!        End { digest }      ------------------>
//!                            <------------------    Stored { digest }
//!
//!        Get { name }        ------------------>
//!                            <------------------    Window { .. }
//!                            <------------------    Filled            slot 0 may be read
//!        RDMA Read of slot 0, Free  ----------->
//!                            <------------------    End { digest }
//! ```
//!
//! The slots of a window are used in turn, and each again only after it has been freed. So neither end
//! ever has more than [`SLOTS_MAX`] + 2 messages under way, for which the other has receives posted.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uwarp::{RemoteRegion, Stag};

/// The version of this protocol; both ends must have the same.
const VERSION: u32 = 1;

/// Octets of a message at the most.
pub(crate) const MESSAGE_MAX: usize = 2048;

/// Octets of a stated reason at the most, so that it fits the private data of a Reply.
const REASON_MAX: usize = 300;

/// Slots of a window at the most.
pub(crate) const SLOTS_MAX: u32 = 16;

/// Octets of a slot at the most.
pub(crate) const SLOT_LEN_MAX: u32 = 4 << 20;

/// Octets that an echo connection carries at a time, at the most.
pub(crate) const ECHO_SIZE_MAX: u32 = 1 << 20;

/// Echoes that may be under way at the most.
pub(crate) const ECHO_DEPTH_MAX: u32 = 64;

/// A region of the sender's that the receiver may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    stag: u32,
    to: u64,
    len: u32,
}

impl From<RemoteRegion> for Place {
    fn from(region: RemoteRegion) -> Self {
        Self {
            stag: region.stag.0,
            to: region.to,
            len: region.len,
        }
    }
}

impl From<Place> for RemoteRegion {
    fn from(place: Place) -> Self {
        Self {
            stag: Stag(place.stag),
            to: place.to,
            len: place.len,
        }
    }
}

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "purpose",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub(crate) enum Purpose {
    /// To put and to get files.
    Files,
    /// The server sends each message back; an empty one says that `place` has a counterpart of the
    /// server's that has been written to, and is answered by a Write to `place` and an empty message.
    Echo {
        /// Octets of a message at the most.
        size: u32,
        /// The client's region.
        place: Place,
    },
}

/// The private data of a Request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    uwarp: u32,
    #[serde(flatten)]
    pub(crate) purpose: Purpose,
}

impl Hello {
    pub(crate) const fn new(purpose: Purpose) -> Self {
        Self {
            uwarp: VERSION,
            purpose,
        }
    }

    pub(crate) fn to_private_data(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads and checks a Request's private data.
    pub(crate) fn from_private_data(octets: &[u8]) -> Result<Self, MessageError> {
        let hello: Self = decode(octets)?;
        check_version(hello.uwarp)?;
        if let Purpose::Echo { size, place } = &hello.purpose {
            within("size", u64::from(*size), 1, u64::from(ECHO_SIZE_MAX))?;
            within(
                "place.len",
                u64::from(place.len),
                u64::from(*size),
                u64::from(*size),
            )?;
        }
        Ok(hello)
    }
}

/// The private data of an accepting Reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Welcome {
    uwarp: u32,
    /// On an echo connection, what the server has for it.
    pub(crate) echo: Option<EchoWelcome>,
}

/// The server's part of an echo connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EchoWelcome {
    /// The region that the client may write and read.
    pub(crate) place: Place,
    /// Messages that the client may have under way.
    pub(crate) depth: u32,
}

impl Welcome {
    pub(crate) const fn new(echo: Option<EchoWelcome>) -> Self {
        Self {
            uwarp: VERSION,
            echo,
        }
    }

    pub(crate) fn to_private_data(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads and checks a Reply's private data.
    pub(crate) fn from_private_data(octets: &[u8]) -> Result<Self, MessageError> {
        let welcome: Self = decode(octets)?;
        check_version(welcome.uwarp)?;
        if let Some(echo) = &welcome.echo {
            within("depth", u64::from(echo.depth), 1, u64::from(ECHO_DEPTH_MAX))?;
        }
        Ok(welcome)
    }
}

/// The private data of a rejecting Reply: a reason in plain words.
pub(crate) fn refusal_to_private_data(reason: &str) -> Vec<u8> {
    plain(reason).into_bytes()
}

/// What the peer gave as the reason of its rejection.
pub(crate) fn refusal(private_data: &[u8]) -> String {
    match std::str::from_utf8(private_data) {
        Ok("") | Err(_) => "the peer rejected the connection and gave no reason".to_owned(),
        Ok(reason) => format!("the peer rejected the connection: {}", plain(reason)),
    }
}

/// A number of slots of equal size, one behind the other in a region of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    pub(crate) place: Place,
    pub(crate) slots: u32,
    pub(crate) slot_len: u32,
}

impl Window {
    /// The first `len` octets of the slot that block number `block` goes through.
    pub(crate) fn slot(&self, block: u64, len: u32) -> Option<RemoteRegion> {
        let index = u32::try_from(block % u64::from(self.slots)).ok()?;
        RemoteRegion::from(self.place).slice(index.checked_mul(self.slot_len)?, len)
    }
}

/// One Send on a connection for files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Message {
    /// The client wants to store a file.
    Put { name: String, size: u64 },
    /// The client wants to have a file.
    Get { name: String },
    /// The server agrees; the file, of `size` octets, goes through this window.
    Window { size: u64, window: Window },
    /// The next slot holds the next `len` octets.
    Filled { len: u32 },
    /// The slot that has been full for longest may be filled again.
    Free,
    /// That was all; its BLAKE3 digest.
    End { digest: Digest },
    /// The file is stored under its name; the digest of what was stored.
    Stored { digest: Digest },
    /// It cannot be done, in plain words.
    Failed { reason: String },
}

impl Message {
    pub(crate) fn failed(reason: impl std::fmt::Display) -> Self {
        Self::Failed {
            reason: plain(&reason.to_string()),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads and checks one message.
    pub(crate) fn decode(octets: &[u8]) -> Result<Self, MessageError> {
        let message = decode(octets)?;
        match &message {
            Self::Window { window, .. } => {
                within("slots", u64::from(window.slots), 1, u64::from(SLOTS_MAX))?;
                within(
                    "slot_len",
                    u64::from(window.slot_len),
                    1,
                    u64::from(SLOT_LEN_MAX),
                )?;
                let total = u64::from(window.slots) * u64::from(window.slot_len);
                within("place.len", u64::from(window.place.len), total, total)?;
            }
            Self::Filled { len } => within("len", u64::from(*len), 1, u64::from(SLOT_LEN_MAX))?,
            Self::Put { .. }
            | Self::Get { .. }
            | Self::Free
            | Self::End { .. }
            | Self::Stored { .. }
            | Self::Failed { .. } => {}
        }
        Ok(message)
    }
}

/// A BLAKE3 digest; 64 hexadecimal digits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Digest(pub(crate) blake3::Hash);

impl TryFrom<String> for Digest {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_hex(text).map(Self)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.to_hex().to_string()
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

/// The peer sent something that is not of this protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("a message of {0} octets, but at most {MESSAGE_MAX} are allowed")]
    TooLong(usize),
    #[error("the peer's message cannot be read: {0}")]
    Malformed(String),
    #[error("the peer speaks version {0} of the protocol, this command version {VERSION}")]
    Version(u32),
    #[error("{field} is {value} in the peer's message, but must be from {min} to {max}")]
    OutOfRange {
        field: &'static str,
        value: u64,
        min: u64,
        max: u64,
    },
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and maps with string keys always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(octets: &[u8]) -> Result<T, MessageError> {
    if octets.len() > MESSAGE_MAX {
        return Err(MessageError::TooLong(octets.len()));
    }
    serde_json::from_slice(octets)
        .map_err(|error| MessageError::Malformed(plain(&error.to_string())))
}

fn check_version(version: u32) -> Result<(), MessageError> {
    if version == VERSION {
        Ok(())
    } else {
        Err(MessageError::Version(version))
    }
}

fn within(field: &'static str, value: u64, min: u64, max: u64) -> Result<(), MessageError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(MessageError::OutOfRange {
            field,
            value,
            min,
            max,
        })
    }
}

/// Text that does nothing to a terminal, and fits into a message.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if out.len() + character.len_utf8() > REASON_MAX {
            break;
        }
        out.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    out
}

#[cfg(test)]
mod tests;
