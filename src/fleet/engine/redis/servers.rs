//! Which server has which key.

use std::sync::Arc;

use crate::fleet::engine::redis::address::Host;
use crate::fleet::engine::redis::link::Link;

/// In a cluster each server has some of the slots, and a key belongs to a slot; one that is alone has them all.
#[derive(Default)]
pub(super) struct Servers {
    servers: Vec<(Host, Option<Arc<Link>>)>,
    ranges: Vec<Range>,
}

/// The slots from `first` to `last`, which the server at `host` has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) host: Host,
}

impl Servers {
    pub(super) fn one(link: Link) -> Self {
        let (host, first, last) = (link.host.clone(), 0, u16::MAX);
        Self { servers: vec![(host.clone(), Some(Arc::new(link)))], ranges: vec![Range { first, last, host }] }
    }

    /// A cluster of which some servers may not be reached.
    pub(super) fn cluster(ranges: Vec<Range>, servers: Vec<(Host, Option<Arc<Link>>)>) -> Self {
        Self { servers, ranges }
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.servers.iter().map(|(host, _)| host)
    }

    /// The connection to the server that has `key`, unless it broke.
    pub(super) fn link(&self, key: &str) -> Option<Arc<Link>> {
        let slot = slot_of(key);
        let range = self.ranges.iter().find(|range| (range.first..=range.last).contains(&slot))?;
        self.to(&range.host)
    }

    pub(super) fn to(&self, host: &Host) -> Option<Arc<Link>> {
        let (_, link) = self.servers.iter().find(|(there, _)| there == host)?;
        link.clone().filter(|link| !link.is_broken())
    }

    pub(super) fn lacks_some(&self) -> bool {
        self.servers.iter().any(|(_, link)| link.is_none())
    }
}

/// Of what stands in braces, if something does:
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(tag, _)| tag);
    crc16(if tag.is_empty() { key } else { tag }.as_bytes()) % 16_384
}

/// CRC-16 in the variant of XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_the_slot_that_a_server_says() {
        // As `CLUSTER KEYSLOT` answers.
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("a{foo}b", 12_182),
            ("{foo}{bar}", 12_182),
            ("{}foo", 9_500),
            ("{foo", 13_308),
            ("", 0),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }
}
