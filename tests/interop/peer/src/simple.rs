//! The other end of rdma_client and rdma_server: a message of 16 octets each way.

use uwarp::{Domain, Options};

use crate::end::{End, Outcome, Place, Receives, listen};

const LEN: usize = 16;
const RECEIVES: Receives = Receives { count: 1, len: LEN };

pub(crate) fn run(place: Place) -> Outcome<()> {
    let domain = Domain::new();
    let options = Options::new(&domain);
    match place {
        Place::Listen(address) => {
            let incoming = listen(address, &options)?.accept()?;
            let mut end = End::accept(incoming, &domain, b"", RECEIVES)?;
            expect(&mut end)?;
            end.send(&[0x5a; LEN])?;
            // Both ends disconnect when they have what they want.
            end.close()
        }
        Place::Connect(address) => {
            let mut end = End::connect(address, &domain, &options, RECEIVES)?;
            end.send(&[0x5a; LEN])?;
            expect(&mut end)?;
            end.close()
        }
    }
}

fn expect(end: &mut End) -> Outcome<()> {
    let len = end.message()?.octets.len();
    if len == LEN {
        Ok(())
    } else {
        Err(format!("a message of {len} octets").into())
    }
}
