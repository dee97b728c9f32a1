//! What the clients of a cluster do more of than those of one server.
//!
//! A tick of a cluster costs as much as several commands, whether anything happens in it or not, and
//! faults only strike while there are attempts. So there are as many attempts a tick as the nodes
//! can take, and the time afterwards, in which a queue is worked off undisturbed, is kept short:
//! mostly, those who wait give up after a while.

use super::{RenewPlan, ServicePlan, shape::Shape};
use crate::{
    draw::{Draw, Stream},
    op::OpWait,
    plan::Profile,
};

/// A plan has no more attempts than about this.
const ATTEMPTS_MAX: u32 = 12_000;

/// About so many requests wait at once, at most: the reference model looks at all of them for every
/// command.
const WAITING_MAX: u32 = 400;

/// Of patient clients there are no more attempts: the last waits for all the others.
const PATIENT_MAX: u32 = 250;

/// How a crowd behaves.
pub(super) struct Crowd {
    draw: Draw,
    /// The longest wait, in ms; none when some wait for ever.
    wait_ms_max: Option<u32>,
    /// Attempts in ten milliseconds.
    in_ten_ms: u32,
    /// Part of attempts that hold for long, in hundredths.
    holders: u32,
}

impl Crowd {
    pub(super) fn new(seed: u64) -> Crowd {
        let mut draw = Draw::new(Profile::Cluster, seed, Stream::ClusterCrowd);
        let is_patient = draw.chance(1, 8);
        let in_ten_ms = *draw.pick(&[3, 8, 15, 20, 30, 40]);
        let wait_ms_max = (10 * WAITING_MAX / in_ten_ms).max(50);
        Crowd {
            wait_ms_max: (!is_patient).then(|| draw.between(50, wait_ms_max)),
            in_ten_ms,
            holders: *draw.pick(&[0, 1, 1, 3]),
            draw,
        }
    }

    /// The same clients, on fewer hosts, for long enough that leaders can change, who ask more often.
    pub(super) fn shape(&mut self, mut shape: Shape) -> Shape {
        let draw = &mut self.draw;
        shape.hosts = shape.hosts.min(2);
        shape.active_ms = 1_500 + draw.between_skewed(1, 10_000);
        let max = match self.wait_ms_max {
            Some(_) => ATTEMPTS_MAX,
            None => PATIENT_MAX,
        };
        let attempts = (shape.active_ms * self.in_ten_ms / 10).min(max);
        shape.pace_ms = (shape.active_ms * shape.clients / attempts).max(1);
        shape.attempts = attempts.max(shape.clients);
        // What all of them hold must be over soon after they have asked.
        let paths = u32::try_from(shape.paths.len()).unwrap_or(u32::MAX);
        let share_ms = shape.active_ms * paths / shape.attempts;
        shape.hold_ms_max = shape.hold_ms_max.min(share_ms).max(2);
        if shape.attempts > PATIENT_MAX {
            shape.sitters = 0;
        }
        shape
    }

    /// Most give up after a while, and some hold for so long that leases run out and are renewed.
    pub(super) fn behave(&mut self, plan: &mut ServicePlan) {
        let Some(wait_ms_max) = self.wait_ms_max else {
            return;
        };
        let draw = &mut self.draw;
        let give_up = |wait: &mut OpWait, draw: &mut Draw| {
            if *wait == OpWait::Forever {
                *wait = OpWait::For(draw.between_skewed(1, wait_ms_max).into());
            }
        };
        for attempt in &mut plan.http {
            give_up(&mut attempt.wait, draw);
        }
        for attempt in plan
            .clients
            .iter_mut()
            .flat_map(|client| &mut client.attempts)
        {
            give_up(&mut attempt.wait, draw);
            if !draw.chance(self.holders, 100) || attempt.hold_ms.is_none() {
                continue;
            }
            attempt.hold_ms = Some(draw.between(20, 800).into());
            attempt.renew = attempt.ttl_ms.filter(|_| draw.chance(2, 3)).map(|ttl_ms| {
                let every_ms = (ttl_ms / 3).max(1);
                RenewPlan { every_ms, ttl_ms }
            });
        }
    }
}
