//! The knobs of a plan of profile `service`, all drawn from the seed: which faults exist at all,
//! how often they come, how the clients behave.

use crate::{
    draw::{Draw, Stream},
    plan::Profile,
};

/// A plan has no more attempts than about this.
const ATTEMPTS_MAX: u32 = 700;

/// What a seed's world is like.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) active_ms: u32,
    pub(super) hosts: u32,
    pub(super) clients: u32,
    pub(super) namespaces: u32,
    /// The mean time between two attempts of one client, in ms.
    pub(super) pace_ms: u32,
    /// Attempts of all clients together.
    pub(super) attempts: u32,
    /// Part of claims that read, in hundredths.
    pub(super) readers: u32,
    pub(super) claims_max: u32,
    pub(super) paths: Vec<String>,
    pub(super) hold_ms_max: u32,
    /// Part of holders that hold for seconds, in hundredths.
    pub(super) sitters: u32,
    pub(super) ttl_ms_max: u32,
    pub(super) leases: u32,
    pub(super) faults: FaultShape,
}

/// Which faults a seed's world has: the weight of each kind, 0 when there is none of it.
#[derive(Debug)]
pub(super) struct FaultShape {
    pub(super) count: u32,
    pub(super) for_ms_max: u32,
    pub(super) cut: u32,
    pub(super) hold: u32,
    pub(super) slow: u32,
    pub(super) reset: u32,
    pub(super) crash_server: u32,
    pub(super) crash_host: u32,
    pub(super) pause: u32,
    /// Whether clocks leap.
    pub(super) jumps: bool,
}

impl Shape {
    pub(super) fn draw(seed: u64) -> Shape {
        let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceShape);
        let active_ms = draw.between_skewed(500, 12_000);
        let clients = draw.between_skewed(2, 24);
        // Crowds cost: the reference model looks at every live request for every command.
        let pace_ms = draw
            .between_skewed(4, 120)
            .max(active_ms * clients / ATTEMPTS_MAX);
        Shape {
            active_ms,
            hosts: draw.between(1, clients.min(4)),
            clients,
            namespaces: if draw.chance(1, 6) {
                draw.between(2, 3)
            } else {
                1
            },
            pace_ms,
            attempts: (active_ms / pace_ms * clients).clamp(2, ATTEMPTS_MAX),
            readers: *draw.pick(&[0, 20, 50, 50, 80, 100]),
            claims_max: *draw.pick(&[1, 1, 2, 3, 6]),
            paths: paths(draw),
            hold_ms_max: draw.between_skewed(2, 400),
            sitters: *draw.pick(&[0, 0, 0, 2, 10]),
            ttl_ms_max: draw.between_skewed(30, 3_000),
            leases: *draw.pick(&[0, 30, 60, 100]),
            faults: FaultShape::draw(draw, active_ms),
        }
    }
}

impl FaultShape {
    fn draw(draw: &mut Draw, active_ms: u32) -> FaultShape {
        let mut weight = |often: u32| {
            if draw.chance(often, 10) {
                draw.between(1, 4)
            } else {
                0
            }
        };
        let [cut, hold, slow, reset] = [weight(5), weight(3), weight(4), weight(5)];
        let [crash_server, crash_host, pause] = [weight(3), weight(4), weight(4)];
        FaultShape {
            count: if draw.chance(1, 8) {
                0
            } else {
                draw.between_skewed(1, 24)
            },
            for_ms_max: draw.between_skewed(5, active_ms.min(3_000)),
            cut,
            hold,
            slow,
            reset,
            crash_server,
            crash_host,
            pause,
            jumps: draw.chance(1, 5),
        }
    }

    /// The weights in the order in which the generator asks for them.
    pub(super) fn weights(&self) -> [u32; 7] {
        [
            self.cut,
            self.hold,
            self.slow,
            self.reset,
            self.crash_server,
            self.crash_host,
            self.pause,
        ]
    }
}

/// The resources that clients contend for: few enough that they meet.
fn paths(draw: &mut Draw) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    let tops = draw.between_skewed(1, 8);
    for top in 0..tops {
        let mut path = format!("p{top}");
        paths.push(path.clone());
        for level in 0..draw.between_skewed(1, 4) - 1 {
            path = format!("{path}/{}", ["a", "ab", "b"][draw.index(3)]);
            if level > 0 || draw.chance(1, 2) {
                paths.push(path.clone());
            }
        }
    }
    if draw.chance(1, 3) {
        paths.push("/".to_owned());
    }
    paths
}
