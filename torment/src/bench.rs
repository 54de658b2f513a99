//! What the cases are played with: the target, its profile, and ways to a connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use uwarp_mpa::{Enhanced, Frame, FrameKind, Rtr, RtrSet};

use crate::callers::{Callers, Running};
use crate::conn::{Conn, Patience, Trouble};
use crate::profile::{Favour, Manner, Place, Profile, READ_SIZE, Receipt, RegionKind};
use crate::seen::Seen;

/// The target as the cases see it.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Where the target listens, if it does.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) profile: Profile,
    pub(crate) patience: Patience,
    /// Where the target calls, if its user makes it.
    pub(crate) callers: Option<Callers>,
    /// The name of the case that is played.
    pub(crate) case: String,
}

/// A startup Request and what goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) markers: bool,
    pub(crate) crc: bool,
    pub(crate) revision: u8,
    /// The words of RFC 6581; without them the Request is unenhanced.
    pub(crate) words: Option<[u8; 4]>,
    pub(crate) favour: Favour,
    /// Private data other than what asks for the favour.
    pub(crate) data: Option<Vec<u8>>,
    /// To the port that wants markers and no CRC.
    pub(crate) markers_port: bool,
    /// XORed to octet 16, where the flags are.
    pub(crate) flags_xor: u8,
}

/// The words of a client-server Request.
pub(crate) const CLIENT: Enhanced = Enhanced {
    ird: 8,
    ord: 8,
    peer_to_peer: false,
    rtr: RtrSet::NONE,
};

impl Default for Dial {
    fn default() -> Self {
        Self {
            markers: false,
            crc: true,
            revision: 2,
            words: Some(CLIENT.encode()),
            favour: Favour::None,
            data: None,
            markers_port: false,
            flags_xor: 0,
        }
    }
}

impl Dial {
    /// A Request in which a favour is asked.
    pub(crate) fn asking(favour: Favour) -> Self {
        Self {
            favour,
            ..Self::default()
        }
    }

    /// A peer-to-peer Request that offers these indications.
    pub(crate) fn peer_to_peer(rtr: RtrSet) -> Self {
        let words = Enhanced {
            peer_to_peer: true,
            rtr,
            ..CLIENT
        };
        Self {
            words: Some(words.encode()),
            ..Self::default()
        }
    }

    /// To the port where markers are due.
    pub(crate) fn to_markers_port() -> Self {
        Self {
            markers_port: true,
            ..Self::default()
        }
    }

    /// The octets of the Request. `says` is its PD_Length, if that is to be a lie.
    pub(crate) fn request(&self, says: Option<u16>) -> Vec<u8> {
        let user = self
            .data
            .clone()
            .unwrap_or_else(|| self.favour.encode().to_vec());
        let words = self.words.map_or_else(Vec::new, |words| words.to_vec());
        let private_data = [words, user].concat();
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = flag(self.markers, 0x80)
            | flag(self.crc, 0x40)
            | flag(self.words.is_some(), 0x10) ^ self.flags_xor;
        let len = says.unwrap_or(private_data.len() as u16);
        let mut out = FrameKind::Request.key().to_vec();
        out.extend([flags, self.revision]);
        out.extend(len.to_be_bytes());
        out.extend(private_data);
        out
    }
}

impl Bench {
    /// A TCP connection to the target, without a word.
    pub(crate) fn open(&self) -> Result<Conn, Trouble> {
        Conn::open(self.target()?, self.patience)
    }

    fn target(&self) -> Result<SocketAddr, Trouble> {
        self.address
            .ok_or_else(|| Trouble::NotOffered("no target was given".to_owned()))
    }

    /// Sends the Request of `dial`, takes the accepting Reply, and begins full operation.
    pub(crate) fn dial(&self, dial: &Dial) -> Result<(Conn, Frame), Trouble> {
        let mut address = self.target()?;
        if dial.markers_port {
            let port = self.profile.markers_port;
            address.set_port(port.ok_or_else(|| Trouble::Setup("no port for markers".into()))?);
        }
        let mut conn = Conn::open(address, self.patience)?;
        conn.raw(&dial.request(None));
        let reply = conn.frame(FrameKind::Reply).map_err(|ending| {
            Trouble::Setup(format!("no Reply to a proper Request: {ending:?}"))
        })?;
        if reply.rejected {
            return Err(Trouble::Setup("a proper Request was rejected".to_owned()));
        }
        conn.operate(reply.markers, dial.markers, dial.crc || reply.crc);
        Ok((conn, reply))
    }

    /// A connection on which the target may speak already.
    pub(crate) fn connected(&self) -> Result<Conn, Trouble> {
        self.asking(Favour::None)
    }

    /// A connection on which a favour has been asked, and the target may speak.
    pub(crate) fn asking(&self, favour: Favour) -> Result<Conn, Trouble> {
        let (mut conn, _) = self.dial(&Dial::asking(favour))?;
        conn.hello();
        Ok(conn)
    }

    /// A target's connection to us, whose Request has been taken; `peer_to_peer` is what we ask
    /// for, where we can.
    pub(crate) fn called(&self, peer_to_peer: bool) -> Result<Call<'_>, Trouble> {
        self.called_to(if peer_to_peer {
            Manner::PeerToPeer
        } else {
            Manner::ClientServer
        })
    }

    /// As [`called`](Self::called), in a manner that we ask for where we can.
    pub(crate) fn called_to(&self, manner: Manner) -> Result<Call<'_>, Trouble> {
        match &self.callers {
            Some(callers) => {
                let (mut conn, request, running) = callers.next(&self.case, self.patience)?;
                // For whatever comes without a Reply.
                conn.operate(request.markers, false, request.crc);
                Ok(Call {
                    conn,
                    request,
                    _asking: None,
                    _running: running,
                })
            }
            None => self.called_as_a_favour(manner),
        }
    }

    /// As [`called`](Self::called), for a case that makes sense in this mode only.
    pub(crate) fn called_in_mode(&self, peer_to_peer: bool) -> Result<Call<'_>, Trouble> {
        let call = self.called(peer_to_peer)?;
        let words = call.request.enhanced_data();
        if words.is_some_and(|words| words.peer_to_peer == peer_to_peer) {
            return Ok(call);
        }
        let mode = if peer_to_peer {
            "peer-to-peer"
        } else {
            "client-server"
        };
        Err(Trouble::NotOffered(format!(
            "the target's Request is not an enhanced one in {mode} mode"
        )))
    }

    fn called_as_a_favour(&self, manner: Manner) -> Result<Call<'_>, Trouble> {
        let any = match self.target()?.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let listener = TcpListener::bind((any, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let asking = self.asking(Favour::Call { port, manner })?;
        let deadline = Instant::now() + self.patience.answer;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return Err(Trouble::Setup("the target did not call".to_owned())),
            }
        };
        stream.set_nonblocking(false)?;
        let mut conn = Conn::adopt(stream, self.patience)?;
        let request = conn
            .frame(FrameKind::Request)
            .map_err(|ending| Trouble::Setup(format!("no Request from the target: {ending:?}")))?;
        Ok(Call {
            conn,
            request,
            _asking: Some(asking),
            _running: None,
        })
    }

    /// Where a region is. Cases that use one say that they need it.
    pub(crate) fn place(&self, kind: RegionKind) -> Place {
        self.profile.regions.get(&kind).copied().unwrap_or(Place {
            stag: 0,
            to: 0,
            len: 0,
        })
    }

    /// A region that every stream may read. Cases that use it say that they need Reads.
    pub(crate) fn readable(&self) -> Place {
        self.profile.readable().unwrap_or(Place {
            stag: 0,
            to: 0,
            len: 0,
        })
    }

    /// An STag that belongs to no region of the profile.
    pub(crate) fn free_stag(&self) -> u32 {
        let taken = |stag: &u32| {
            let mut places = self.profile.regions.values();
            places.any(|place| place.stag == *stag)
        };
        (0x0bad_0000..).find(|stag| !taken(stag)).unwrap_or(0)
    }

    /// The STag of a region that has been revoked or, without one, one that never was.
    pub(crate) fn invalid_stag(&self) -> u32 {
        let revoked = self.profile.regions.get(&RegionKind::Revoked);
        revoked.map_or_else(|| self.free_stag(), |place| place.stag)
    }

    /// Whether the octets of a region can be looked at.
    pub(crate) fn can_look(&self, kind: RegionKind) -> bool {
        self.profile.ird > 0 && self.profile.regions.contains_key(&kind)
    }

    /// All octets of a region, and the damages that the target knows of.
    pub(crate) fn look(&self, kind: RegionKind) -> Result<(Vec<u8>, Damage), Trouble> {
        let (mut conn, reply) = self.dial(&Dial::default())?;
        let damage = damage(&reply);
        conn.hello();
        let Place { stag, to, len } = self.place(kind);
        let octets = conn.fetch(stag, to, len);
        let seen = conn.finish();
        let what = || {
            Trouble::Setup(format!(
                "a proper Read was not answered: {}",
                seen.describe()
            ))
        };
        Ok((octets.ok_or_else(what)?, damage))
    }

    /// Whether the target still takes connections, and the damages that it knows of.
    pub(crate) fn probe(&self) -> Result<Damage, Trouble> {
        let (_, reply) = self.dial(&Dial::default())?;
        Ok(damage(&reply))
    }

    /// Proves that the connection works: a Read of 16 octets is answered.
    pub(crate) fn prove(&self, mut conn: Conn) -> Seen {
        let Place { stag, to, .. } = self.readable();
        let works = conn.fetch(stag, to, 16).is_some();
        let mut seen = conn.finish();
        seen.works = works;
        seen
    }

    /// Proves that a Request was accepted as it should be, and that FPDUs get through.
    pub(crate) fn prove_dial(&self, dial: &Dial) -> Result<(Seen, Frame), Trouble> {
        let (mut conn, reply) = self.dial(dial)?;
        conn.hello();
        Ok((self.prove(conn), reply))
    }
}

/// Regions that somebody has changed who must not.
pub(crate) type Damage = BTreeSet<RegionKind>;

fn damage(reply: &Frame) -> Damage {
    Profile::decode(reply.user_data()).map_or_else(Damage::new, |profile| profile.damage)
}

/// A connection that the target made as initiator.
#[derive(Debug)]
pub(crate) struct Call<'b> {
    pub(crate) conn: Conn,
    pub(crate) request: Frame,
    /// The connection on which we asked for it.
    _asking: Option<Conn>,
    /// What made it call.
    _running: Option<Running<'b>>,
}

impl Call<'_> {
    /// Terms that suit the Request.
    pub(crate) fn terms(&self) -> Enhanced {
        let asked = self.request.enhanced_data();
        let peer_to_peer = asked.is_some_and(|asked| asked.peer_to_peer);
        Enhanced {
            ird: 4,
            // Not more than the target takes (E08).
            ord: asked.map_or(4, |asked| asked.ird.min(4)),
            peer_to_peer,
            rtr: match asked {
                Some(asked) if peer_to_peer && asked.rtr.contains(Rtr::Write) => RtrSet::WRITE,
                Some(asked) if peer_to_peer => asked.rtr,
                _ => RtrSet::NONE,
            },
        }
    }

    /// The Reply that accepts on these terms; one of the Request's kind (E21).
    pub(crate) fn reply(&self, words: Enhanced) -> Frame {
        let enhanced = self.request.enhanced;
        Frame {
            kind: FrameKind::Reply,
            markers: false,
            crc: true,
            rejected: false,
            enhanced,
            revision: self.request.revision,
            private_data: if enhanced {
                words.encode().to_vec()
            } else {
                Vec::new()
            },
        }
    }

    /// Accepts on terms that suit the Request, and begins full operation.
    pub(crate) fn accept(&mut self) -> Result<(), Trouble> {
        let reply = self.reply(self.terms());
        self.answer(&reply)
    }

    /// Sends a Reply and begins full operation.
    pub(crate) fn answer(&mut self, reply: &Frame) -> Result<(), Trouble> {
        let octets = reply
            .encode()
            .map_err(|error| Trouble::Setup(error.to_string()))?;
        self.conn.raw(&octets);
        // Either end may ask for the CRC.
        let crc = self.request.crc || reply.crc;
        self.conn.operate(self.request.markers, reply.markers, crc);
        Ok(())
    }
}

/// The receipt in a Send of the target's.
pub(crate) fn receipt(conn: &mut Conn) -> Option<Receipt> {
    loop {
        let ulpdu = conn.message()?;
        let body = ulpdu.get(uwarp_ddp::UNTAGGED_LEN..)?;
        if let Some(receipt) = Receipt::decode(body) {
            return Some(receipt);
        }
    }
}

/// What the target is to find in us when it reads.
pub(crate) fn our_octets() -> Vec<u8> {
    (0..READ_SIZE as u8).map(|at| at ^ 0xa5).collect()
}
