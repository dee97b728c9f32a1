//! Smaller plans that may show the same violation.

use super::{EngineChecks, EnginePlan, LimitOverrides, Relimit};
use crate::op::{Action, Op, OpLock, OpOwner, OpWait, Text};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    mem::{Discriminant, discriminant},
    num::NonZeroU32,
};

/// A lazy list of candidates.
type Candidates<'a> = Box<dyn Iterator<Item = EnginePlan> + 'a>;

impl EnginePlan {
    /// Smaller plans, the boldest first; each weighs less than this one.
    pub(in crate::plan) fn reductions(&self) -> impl Iterator<Item = EnginePlan> + '_ {
        let weight = self.weight();
        let few = self.ops.len() / 16;
        let steps: [fn(&EnginePlan) -> Candidates<'_>; 9] = [
            EnginePlan::without_groups,
            EnginePlan::without_requests,
            EnginePlan::with_simpler_settings,
            EnginePlan::with_shorter_lists,
            EnginePlan::with_merged_clients,
            EnginePlan::with_shorter_paths,
            EnginePlan::with_scaled_times,
            EnginePlan::with_shorter_names,
            EnginePlan::with_simpler_ops,
        ];
        let (bold, fine): (Vec<_>, Vec<_>) =
            chunk_sizes(self.ops.len()).partition(|&size| size > few);
        let [groups, requests, rest @ ..] = steps;
        iter::once(self.without_chunks(bold))
            .chain(iter::once_with(move || groups(self)))
            .chain(iter::once_with(move || requests(self)))
            .chain(iter::once_with(move || self.without_chunks(fine)))
            .chain(rest.into_iter().map(move |step| step(self)))
            .flatten()
            .filter(move |plan| plan.weight() < weight)
    }

    /// The plan with only the ops that `keep` keeps. The limits change between the same ones.
    fn keeping(&self, mut keep: impl FnMut(usize, &Op) -> bool) -> EnginePlan {
        let ops = self.ops.iter().enumerate();
        let ops = ops.filter(|(index, op)| keep(*index, op));
        let (places, ops): (Vec<usize>, Vec<Op>) =
            ops.map(|(index, op)| (index, op.clone())).unzip();
        let mut plan = EnginePlan {
            ops,
            ..self.settings()
        };
        for relimit in &mut plan.relimits {
            let before = usize::try_from(relimit.after).unwrap_or(usize::MAX);
            let kept = places.partition_point(|place| *place < before);
            relimit.after = u32::try_from(kept).unwrap_or(u32::MAX).max(1);
        }
        plan
    }

    /// The plan with every op changed by `edit`.
    fn editing(&self, mut edit: impl FnMut(&mut Op)) -> EnginePlan {
        let mut ops = self.ops.clone();
        ops.iter_mut().for_each(&mut edit);
        EnginePlan {
            ops,
            ..self.settings()
        }
    }

    /// The plan without ops.
    fn settings(&self) -> EnginePlan {
        EnginePlan {
            shape: self.shape.clone(),
            limits: self.limits.clone(),
            relimits: self.relimits.clone(),
            checks: self.checks.clone(),
            ops: Vec::new(),
        }
    }

    fn without_chunks(&self, sizes: Vec<usize>) -> Candidates<'_> {
        let len = self.ops.len();
        Box::new(sizes.into_iter().flat_map(move |size| {
            // From the end: what comes after the violation is superfluous.
            (0..len.div_ceil(size)).rev().map(move |chunk| {
                let dropped = chunk * size..(chunk + 1) * size;
                self.keeping(|index, _| !dropped.contains(&index))
            })
        }))
    }

    /// Without all ops of a namespace, of an owner or session, of a kind.
    fn without_groups(&self) -> Candidates<'_> {
        let namespaces: BTreeSet<_> = self.ops.iter().map(|op| op.namespace.clone()).collect();
        let clients: BTreeSet<_> = self.ops.iter().filter_map(client).collect();
        let mut kinds: Vec<Discriminant<Action>> = Vec::new();
        for op in &self.ops {
            let kind = discriminant(&op.action);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let without_namespaces = namespaces
            .into_iter()
            .map(|namespace| self.keeping(|_, op| op.namespace != namespace));
        let without_clients = clients
            .into_iter()
            .map(|one| self.keeping(|_, op| client(op).as_ref() != Some(&one)));
        let without_kinds = kinds
            .into_iter()
            .map(|kind| self.keeping(|_, op| discriminant(&op.action) != kind));
        Box::new(
            without_namespaces
                .chain(without_clients)
                .chain(without_kinds),
        )
    }

    /// Without all ops on a request.
    fn without_requests(&self) -> Candidates<'_> {
        let requests: BTreeSet<_> = self.ops.iter().filter_map(request).collect();
        Box::new(
            requests
                .into_iter()
                .rev()
                .map(|one| self.keeping(|_, op| request(op).as_ref() != Some(&one))),
        )
    }

    fn with_simpler_settings(&self) -> Candidates<'_> {
        let simplify: [fn(&mut EnginePlan); 16] = [
            |plan| {
                plan.limits = LimitOverrides::default();
                plan.relimits.clear();
                plan.checks = EngineChecks::default();
                plan.shape.clear();
            },
            |plan| plan.limits = LimitOverrides::default(),
            |plan| plan.relimits.clear(),
            |plan| plan.shape.clear(),
            |plan| plan.checks.twin = false,
            |plan| plan.checks.leak = false,
            |plan| plan.checks.restore_every = 0,
            |plan| plan.limits.claims_per_request = None,
            |plan| plan.limits.segments_per_path = None,
            |plan| plan.limits.bytes_per_segment = None,
            |plan| plan.limits.queued_requests_per_path = None,
            |plan| plan.limits.locks_per_owner = None,
            |plan| plan.limits.sessions = None,
            |plan| plan.limits.namespaces = None,
            |plan| plan.limits.session_ends_per_ms = None,
            |plan| {
                let limit = plan.limits.session_ends_per_ms.as_mut();
                limit.into_iter().for_each(|limit| *limit = NonZeroU32::MIN);
            },
        ];
        let without_retention = iter::once_with(|| {
            let mut plan = self.clone();
            plan.limits.retention = None;
            plan
        });
        let simpler = simplify.into_iter().map(|simplify| {
            let mut plan = self.clone();
            simplify(&mut plan);
            plan
        });
        let relimits = (0..self.relimits.len()).flat_map(|place| self.simpler_at(place));
        Box::new(simpler.chain(without_retention).chain(relimits))
    }

    /// Without a change of the limits; or an earlier one, or one to limits that are almost the defaults.
    fn simpler_at(&self, place: usize) -> Vec<EnginePlan> {
        let edited = |edit: &dyn Fn(&mut Relimit)| {
            let mut plan = self.clone();
            edit(&mut plan.relimits[place]);
            plan
        };
        let mut without = self.clone();
        without.relimits.remove(place);
        let mut plans = vec![without];
        let LimitOverrides { retention, .. } = self.relimits[place].limits;
        let only_retention = LimitOverrides {
            retention,
            ..LimitOverrides::default()
        };
        plans.push(edited(&|one| one.limits = LimitOverrides::default()));
        plans.push(edited(&|one| one.limits = only_retention.clone()));
        plans.push(edited(&|one| one.limits.retention = None));
        let after = self.relimits[place].after;
        let earlier = [
            after / 2,
            after.saturating_sub(after / 8),
            after.saturating_sub(1),
        ];
        for earlier in earlier.into_iter().filter(|earlier| *earlier < after) {
            plans.push(edited(&|one| one.after = earlier.max(1)));
        }
        plans
    }

    /// One claim for all; then, of each op, without half, quarter, ... of its claims or ids.
    fn with_shorter_lists(&self) -> Candidates<'_> {
        let first_only = iter::once_with(|| {
            self.editing(|op| {
                if let Action::Acquire { claims, .. } = &mut op.action {
                    claims.truncate(1);
                }
            })
        });
        let fewer = self.ops.iter().enumerate().flat_map(move |(index, op)| {
            let len = match &op.action {
                Action::Acquire { claims, .. } => claims.len(),
                Action::Done { ids, .. } => ids.len(),
                _ => 0,
            };
            chunk_sizes(len).flat_map(move |size| {
                (0..len.div_ceil(size)).map(move |chunk| {
                    let dropped = chunk * size..len.min((chunk + 1) * size);
                    let mut plan = self.clone();
                    match &mut plan.ops[index].action {
                        Action::Acquire { claims, .. } => drop(claims.drain(dropped)),
                        Action::Done { ids, .. } => drop(ids.drain(dropped)),
                        _ => {}
                    }
                    plan
                })
            })
        });
        Box::new(first_only.chain(fewer))
    }

    /// One namespace for all, or for two; one owner for two; a named owner for a session.
    fn with_merged_clients(&self) -> Candidates<'_> {
        let no_namespace = iter::once_with(|| self.editing(|op| op.namespace = None));
        let namespaces: BTreeSet<_> = self.ops.iter().map(|op| op.namespace.clone()).collect();
        let merged_namespaces = pairs(namespaces).map(|(from, to)| {
            self.editing(|op| {
                if op.namespace == from {
                    op.namespace.clone_from(&to);
                }
            })
        });
        let owners: BTreeSet<_> = self.ops.iter().filter_map(owner).cloned().collect();
        let merged_owners = pairs(owners).map(|(from, to)| {
            self.editing(|op| {
                if let Some(owner) = owner_mut(op)
                    && *owner == from
                {
                    owner.clone_from(&to);
                }
                if let (OpOwner::Session(from), OpOwner::Session(to)) = (&from, &to)
                    && let Some(session) = session_mut(op)
                    && session == from
                {
                    session.clone_from(to);
                }
            })
        });
        Box::new(no_namespace.chain(merged_namespaces).chain(merged_owners))
    }

    /// Paths without a segment, everywhere at once.
    fn with_shorter_paths(&self) -> Candidates<'_> {
        let paths: BTreeSet<Text> = self.paths().cloned().collect();
        let depth = paths.iter().map(|path| path.split('/').count()).max();
        // Levels: all paths lose one or many segments at the same place.
        let levels = chunk_sizes(depth.unwrap_or(0)).flat_map(move |size| {
            (0..depth.unwrap_or(0)).step_by(size).map(move |start| {
                self.editing_paths(|path| {
                    let segments = path.split('/').enumerate();
                    let kept = segments.filter(|(at, _)| !(start..start + size).contains(at));
                    let kept: Vec<&str> = kept.map(|(_, segment)| segment).collect();
                    (!kept.is_empty()).then(|| Text::from(kept.join("/")))
                })
            })
        });
        // Single paths become their parents, or another path of the plan.
        let parents = paths.clone().into_iter().filter_map(move |path| {
            let (parent, _) = path.rsplit_once('/')?;
            let parent = Text::from(parent);
            Some(self.editing_paths(|other| (*other == *path).then(|| parent.clone())))
        });
        let merged = pairs(paths)
            .map(|(from, to)| self.editing_paths(|path| (*path == *from).then(|| to.clone())));
        // Each segment gets the shortest name, in the order in which they appear.
        let renamed = iter::once_with(|| {
            let mut names = Renaming::new("", b'a');
            self.editing_paths(|path| {
                let segments = path.split('/');
                let renamed: Vec<Text> = segments.map(|segment| names.name(segment)).collect();
                is_path(path).then(|| Text::from(renamed.join("/")))
            })
        });
        Box::new(levels.chain(parents).chain(merged).chain(renamed))
    }

    fn paths(&self) -> impl Iterator<Item = &Text> {
        self.ops.iter().flat_map(|op| {
            let (claims, path) = match &op.action {
                Action::Acquire { claims, .. } => (&claims[..], None),
                Action::Inspect { path } => (&[][..], Some(path)),
                _ => (&[][..], None),
            };
            claims.iter().map(|claim| &claim.path).chain(path)
        })
    }

    fn editing_paths(&self, mut edit: impl FnMut(&str) -> Option<Text>) -> EnginePlan {
        let mut change = |path: &mut Text| {
            if let Some(edited) = edit(path) {
                *path = edited;
            }
        };
        self.editing(|op| match &mut op.action {
            Action::Acquire { claims, .. } => {
                claims.iter_mut().for_each(|claim| change(&mut claim.path));
            }
            Action::Inspect { path } => change(path),
            _ => {}
        })
    }

    /// All times at once: none pass, or a fraction. What coincides goes on coinciding.
    fn with_scaled_times(&self) -> Candidates<'_> {
        let none = iter::once_with(|| self.editing(|op| op.at = 0));
        let steps_of_one = iter::once_with(|| {
            let (mut before, mut now) = (0, 0);
            self.editing(|op| {
                now += u64::from(op.at > before);
                before = before.max(op.at);
                op.at = now;
            })
        });
        let fractions = [1000, 100, 10, 5, 2].into_iter().map(|divisor| {
            let mut plan = self.editing(|op| {
                op.at /= divisor;
                durations(&mut op.action, |ms| ms.div_ceil(divisor));
            });
            let later = plan.relimits.iter_mut().map(|relimit| &mut relimit.limits);
            let limits = [&mut plan.limits].into_iter().chain(later);
            for retention in limits.filter_map(|limits| limits.retention.as_mut()) {
                let ms = retention.as_ms() / divisor;
                *retention = lockwright_engine::DurationMs::new(ms).unwrap_or(*retention);
            }
            plan
        });
        // Everything of one length becomes shorter together.
        let lengths: BTreeSet<u64> = self.ops.iter().flat_map(lengths).collect();
        let shorter = lengths.into_iter().rev().flat_map(move |length| {
            [1, length / 2, length.saturating_sub(1)]
                .into_iter()
                .map(move |shorter| {
                    self.editing(|op| {
                        durations(&mut op.action, |ms| if ms == length { shorter } else { ms });
                    })
                })
        });
        Box::new(none.chain(steps_of_one).chain(fractions).chain(shorter))
    }

    /// `L1`, `L2` for requests, `o1` for owners, `s1` for sessions.
    fn with_shorter_names(&self) -> Candidates<'_> {
        let mut requests = Renaming::new("L", b'1');
        let mut owners = Renaming::new("", b'a');
        let mut sessions = Renaming::new("s", b'1');
        let mut namespaces = Renaming::new("n", b'1');
        Box::new(iter::once_with(move || {
            self.editing(|op| {
                if let Some(namespace) = &mut op.namespace {
                    *namespace = namespaces.name(namespace);
                }
                ids(op, |id| *id = requests.name(id));
                match owner_mut(op) {
                    Some(OpOwner::Named(name)) => *name = owners.name(name),
                    Some(OpOwner::Session(name)) => *name = sessions.name(name),
                    None => {}
                }
                if let Some(session) = session_mut(op) {
                    *session = sessions.name(session);
                }
            })
        }))
    }

    /// Of one op at a time: no time before it, or 1 ms; no lease, no deadline, no token.
    fn with_simpler_ops(&self) -> Candidates<'_> {
        Box::new((0..self.ops.len()).flat_map(move |index| {
            let before = self.ops[..index].iter().map(|op| op.at).max().unwrap_or(0);
            let gap = self.ops[index].at.saturating_sub(before);
            let closer = [0, 1, gap / 2].into_iter().map(move |shorter| {
                let cut = gap.saturating_sub(shorter);
                let mut plan = self.clone();
                for op in &mut plan.ops[index..] {
                    op.at = op.at.saturating_sub(cut);
                }
                plan
            });
            let simplify: [fn(&mut Action); 5] = [
                |action| {
                    if let Action::Acquire { ttl, wait, .. } = action {
                        *ttl = None;
                        *wait = OpWait::Forever;
                    }
                },
                |action| {
                    if let Action::Acquire { ttl, .. } = action {
                        *ttl = None;
                    }
                },
                |action| {
                    if let Action::Acquire { wait, .. } = action {
                        *wait = OpWait::Forever;
                    }
                },
                |action| {
                    if let Action::Release { token, .. }
                    | Action::Renew { token, .. }
                    | Action::Break { token, .. } = action
                    {
                        *token = None;
                    }
                },
                |action| durations(action, |ms| ms.min(1)),
            ];
            let simpler = simplify.into_iter().map(move |simplify| {
                let mut plan = self.clone();
                simplify(&mut plan.ops[index].action);
                plan
            });
            closer.chain(simpler)
        }))
    }
}

/// `len / 2`, `len / 4`, ... 1; only 1 for a `len` of 1, nothing for 0.
fn chunk_sizes(len: usize) -> impl Iterator<Item = usize> {
    let first = if len == 1 { 1 } else { len / 2 };
    iter::successors((first > 0).then_some(first), |&size| {
        (size > 1).then_some(size / 2)
    })
}

/// Each item but the first with the first one, then with its neighbour.
fn pairs<T: Clone>(items: BTreeSet<T>) -> impl Iterator<Item = (T, T)> {
    let items: Vec<T> = items.into_iter().collect();
    (1..items.len()).flat_map(move |index| {
        let neighbour = (index > 1).then(|| (items[index].clone(), items[index - 1].clone()));
        iter::once((items[index].clone(), items[0].clone())).chain(neighbour)
    })
}

/// Short names for long ones, given in the order in which they are asked for.
struct Renaming {
    names: BTreeMap<Text, Text>,
    prefix: &'static str,
    first: u8,
}

impl Renaming {
    fn new(prefix: &'static str, first: u8) -> Renaming {
        Renaming {
            names: BTreeMap::new(),
            prefix,
            first,
        }
    }

    /// The new name of `old`.
    fn name(&mut self, old: &str) -> Text {
        if let Some(name) = self.names.get(old) {
            return name.clone();
        }
        let number = self.names.len();
        let suffix = match (self.first, u8::try_from(number)) {
            (b'a', Ok(number @ 0..26)) => char::from(b'a' + number).to_string(),
            _ => (number + 1).to_string(),
        };
        let name = Text::from(format!("{}{suffix}", self.prefix));
        self.names.insert(Text::from(old), name.clone());
        name
    }
}

/// Whether a text is a path with segments.
fn is_path(text: &str) -> bool {
    text.split('/').all(|segment| !segment.is_empty())
}

/// All lengths of time in an op.
fn lengths(op: &Op) -> Vec<u64> {
    let mut lengths = Vec::new();
    durations(&mut op.action.clone(), |ms| {
        lengths.push(ms);
        ms
    });
    lengths
}

/// Changes all lengths of time in an action.
fn durations(action: &mut Action, mut change: impl FnMut(u64) -> u64) {
    match action {
        Action::Acquire { ttl, wait, .. } => {
            *ttl = ttl.map(&mut change);
            if let OpWait::For(ms) = wait {
                *ms = change(*ms);
            }
        }
        Action::Renew { ttl, .. } => *ttl = change(*ttl),
        Action::OpenSession { abandon, .. } => *abandon = change(*abandon),
        _ => {}
    }
}

fn lock(op: &Op) -> Option<&OpLock> {
    match &op.action {
        Action::Release { lock, .. }
        | Action::Renew { lock, .. }
        | Action::Cancel { lock }
        | Action::Break { lock, .. } => Some(lock),
        _ => None,
    }
}

fn owner(op: &Op) -> Option<&OpOwner> {
    match &op.action {
        Action::Acquire { owner, .. } => Some(owner),
        _ => lock(op)?.owner.as_ref(),
    }
}

/// Who acts, with the namespace.
fn client(op: &Op) -> Option<(Option<Text>, OpOwner)> {
    let client = match &op.action {
        Action::OpenSession { session, .. }
        | Action::Attach { session }
        | Action::Detach { session }
        | Action::KeepAlive { session }
        | Action::Done { session, .. }
        | Action::CloseSession { session } => OpOwner::Session(session.clone()),
        _ => owner(op)?.clone(),
    };
    Some((op.namespace.clone(), client))
}

/// The request that an op is about.
fn request(op: &Op) -> Option<(Option<Text>, Option<OpOwner>, Text)> {
    let id = match &op.action {
        Action::Acquire { id, .. } => id,
        _ => &lock(op)?.id,
    };
    Some((op.namespace.clone(), owner(op).cloned(), id.clone()))
}

/// The owner and the id in an op on a lock.
fn lock_parts_mut(op: &mut Op) -> Option<(Option<&mut OpOwner>, &mut Text)> {
    match &mut op.action {
        Action::Acquire { id, owner, .. } => Some((Some(owner), id)),
        Action::Release { lock, .. }
        | Action::Renew { lock, .. }
        | Action::Cancel { lock }
        | Action::Break { lock, .. } => Some((lock.owner.as_mut(), &mut lock.id)),
        _ => None,
    }
}

fn owner_mut(op: &mut Op) -> Option<&mut OpOwner> {
    lock_parts_mut(op)?.0
}

/// Changes the ids of the requests that an op is about.
fn ids(op: &mut Op, mut change: impl FnMut(&mut Text)) {
    match &mut op.action {
        Action::Done { ids, .. } => ids.iter_mut().for_each(change),
        _ => {
            if let Some((_, id)) = lock_parts_mut(op) {
                change(id);
            }
        }
    }
}

fn session_mut(op: &mut Op) -> Option<&mut Text> {
    match &mut op.action {
        Action::OpenSession { session, .. }
        | Action::Attach { session }
        | Action::Detach { session }
        | Action::KeepAlive { session }
        | Action::Done { session, .. }
        | Action::CloseSession { session } => Some(session),
        _ => None,
    }
}
