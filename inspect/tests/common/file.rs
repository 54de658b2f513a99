//! Capture files, written octet by octet in every format.

/// Link types of the pcap format.
pub(crate) const NULL: u16 = 0;
pub(crate) const ETHERNET: u16 = 1;
pub(crate) const RAW: u16 = 101;
pub(crate) const LOOP: u16 = 108;
pub(crate) const LINUX_SLL: u16 = 113;
pub(crate) const IPV4: u16 = 228;
pub(crate) const IPV6: u16 = 229;
pub(crate) const LINUX_SLL2: u16 = 276;

/// A packet: nanoseconds, and its octets.
pub(crate) type Stamped = (u64, Vec<u8>);

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) ng: bool,
    pub(crate) big_endian: bool,
    pub(crate) nanoseconds: bool,
}

impl Format {
    pub(crate) const PLAIN: Self = Self {
        ng: false,
        big_endian: false,
        nanoseconds: true,
    };

    /// pcap and pcapng, of both byte orders and both units of time.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..8).map(|bits| Self {
            ng: bits & 1 != 0,
            big_endian: bits & 2 != 0,
            nanoseconds: bits & 4 != 0,
        })
    }

    fn long(self, value: u32) -> [u8; 4] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn short(self, value: u16) -> [u8; 2] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    /// A file with these packets, of each of which at most `snaplen` octets are kept.
    pub(crate) fn write(self, link: u16, snaplen: usize, packets: &[Stamped]) -> Vec<u8> {
        if self.ng {
            self.pcapng(link, snaplen, packets)
        } else {
            self.pcap(link, snaplen, packets)
        }
    }

    fn pcap(self, link: u16, snaplen: usize, packets: &[Stamped]) -> Vec<u8> {
        let magic = if self.nanoseconds {
            0xa1b2_3c4d
        } else {
            0xa1b2_c3d4
        };
        let mut out = Vec::new();
        out.extend(self.long(magic));
        out.extend(self.short(2));
        out.extend(self.short(4));
        for word in [0, 0, snaplen as u32, link.into()] {
            out.extend(self.long(word));
        }
        for (time, packet) in packets {
            let kept = packet.len().min(snaplen);
            let unit = if self.nanoseconds { 1 } else { 1000 };
            let (seconds, rest) = (time / 1_000_000_000, time % 1_000_000_000 / unit);
            for word in [
                seconds as u32,
                rest as u32,
                kept as u32,
                packet.len() as u32,
            ] {
                out.extend(self.long(word));
            }
            out.extend(&packet[..kept]);
        }
        out
    }

    fn pcapng(self, link: u16, snaplen: usize, packets: &[Stamped]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut section = self.long(0x1a2b_3c4d).to_vec();
        section.extend(self.short(1));
        section.extend(self.short(0));
        section.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &section, &mut out);
        let mut interface = self.short(link).to_vec();
        interface.extend(self.short(0));
        interface.extend(self.long(snaplen as u32));
        if self.nanoseconds {
            // if_tsresol: 10^-9 s.
            interface.extend(self.short(9));
            interface.extend(self.short(1));
            interface.extend([9, 0, 0, 0]);
            interface.extend([0; 4]);
        }
        self.block(1, &interface, &mut out);
        for (time, packet) in packets {
            let kept = packet.len().min(snaplen);
            let ticks = if self.nanoseconds { *time } else { time / 1000 };
            let mut body = Vec::new();
            for word in [
                0,
                (ticks >> 32) as u32,
                ticks as u32,
                kept as u32,
                packet.len() as u32,
            ] {
                body.extend(self.long(word));
            }
            body.extend(&packet[..kept]);
            body.resize(body.len().next_multiple_of(4), 0);
            self.block(6, &body, &mut out);
        }
        out
    }

    fn block(self, kind: u32, body: &[u8], out: &mut Vec<u8>) {
        let len = self.long(body.len() as u32 + 12);
        out.extend(self.long(kind));
        out.extend(len);
        out.extend(body);
        out.extend(len);
    }
}
