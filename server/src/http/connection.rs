//! One connection: HTTP until it closes or becomes a WebSocket.

use super::{
    ApiError,
    body::well_encoded,
    delivery::{Owed, Wire, owe},
    is_for_guests,
};
use crate::{
    Drain,
    admission::{Entry, Guest},
    listen::{CLOSE_GRACE, is_over},
    session_endpoint::Gate,
    unread::Unread,
};
use axum::{Router, body::Body, extract::Request, response::IntoResponse};
use hyper::body::Incoming;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use lockwright_env::{Env, timeout};
use std::{
    any::Any,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::watch;

/// Bytes of the line and the headers of a request, at most.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long a connection of the reserve may ask for nothing.
const GUEST_PATIENCE: Duration = Duration::from_secs(1);

/// Serves a connection. It is over when it closes, or says nothing for the idle timeout while
/// nothing is asked, or when the server stops; or it becomes a WebSocket.
pub(crate) async fn serve<E: Env>(
    gate: Arc<Gate<E>>,
    router: Router,
    stream: E::Stream,
    entry: Entry,
    mut stopped: watch::Receiver<Option<Drain>>,
) {
    let activity = Arc::new(Activity::begin(gate.env().monotonic()));
    let router = TowerToHyperService::new(router);
    let (of_activity, of_service) = (activity.clone(), gate.clone());
    // What is in it when the connection is over was not delivered.
    let owed = Owed::default();
    let unread = Unread::new(gate.unread().clone());
    let written = activity.written.clone();
    let wire = Wire::new(stream, owed.clone(), unread.clone(), written);
    let guest = match &entry {
        Entry::Guest(guest) => Some(guest.clone()),
        Entry::Full(_) => None,
    };
    let is_guest = guest.is_some();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        if let Entry::Full(place) = &entry {
            request.extensions_mut().insert(place.clone());
        }
        request.extensions_mut().insert(unread.clone());
        let open = Open(Arc::new((of_activity.clone(), of_service.env().clone())));
        let busy = open.keep();
        request.extensions_mut().insert(open);
        let refused = well_encoded(request.uri())
            .and_then(|()| of_service.admits(&request))
            .and_then(|()| may_ask(&entry, request.uri().path()))
            .err();
        let response = hyper::service::Service::call(&router, request);
        let (gate, owed) = (of_service.clone(), owed.clone());
        let unread = unread.clone();
        async move {
            let response = match refused {
                Some(error) => Ok(error.into_response()),
                None => response.await,
            };
            if let Ok(response) = &response {
                gate.metrics().answered(response.status().as_u16());
            }
            drop(busy);
            unread.clear();
            response.map(|response| owe(response, owed))
        }
    });
    // No `date` header: it would come from a clock that is not the Env's.
    let connection = hyper::server::conn::http1::Builder::new()
        .auto_date_header(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(!is_guest)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // What goes wrong here concerns this connection only, and its client knows.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(is_over) => {}
        () = is_idle(&gate, &activity, guest) => return,
    }
    // What was asked is answered, if it is answered soon.
    connection.as_mut().graceful_shutdown();
    let _ = timeout(gate.env(), gate.idle_timeout().max(CLOSE_GRACE), connection).await;
}

/// Waits until a connection has asked for nothing for too long: one of the reserve soon, until it asks.
async fn is_idle<E: Env>(gate: &Gate<E>, activity: &Activity, guest: Option<Guest>) {
    if let Some(guest) = guest {
        let patience = gate.idle_timeout().min(GUEST_PATIENCE);
        activity.idle(gate.env(), patience).await;
        if !guest.has_asked() {
            return;
        }
    }
    activity.idle(gate.env(), gate.idle_timeout()).await;
}

/// Whether what is at this path may be asked for on a connection. On those that come when there are as many
/// as may be, the rest is for those that have come before.
fn may_ask(entry: &Entry, path: &str) -> Result<(), ApiError> {
    match entry {
        Entry::Full(_) => Ok(()),
        Entry::Guest(guest) if is_for_guests(path) => {
            guest.asks();
            Ok(())
        }
        Entry::Guest(_) => Err(ApiError::full()),
    }
}

/// When something was asked last on a connection.
struct Activity {
    state: Mutex<State>,
    /// How often bytes of answers were taken.
    written: Arc<AtomicUsize>,
}

struct State {
    /// Requests that are not answered, and answers that wait for what there is to say.
    open: usize,
    /// Since when there are none.
    idle_since: Duration,
    /// Whether there is an answer that goes on: the connection is not idle as long as bytes of it are taken.
    goes_on: bool,
}

impl Activity {
    fn begin(now: Duration) -> Activity {
        Activity {
            state: Mutex::new(State {
                open: 0,
                idle_since: now,
                goes_on: false,
            }),
            written: Arc::default(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until nothing was asked for `idle_timeout`.
    async fn idle<E: Env>(&self, env: &E, idle_timeout: Duration) {
        let mut written = self.written.load(Relaxed);
        loop {
            let mut until = None;
            self.change(|state| {
                let before = std::mem::replace(&mut written, self.written.load(Relaxed));
                if state.goes_on && written != before {
                    state.idle_since = env.monotonic();
                }
                let since = match state.open {
                    0 => state.idle_since,
                    _ => env.monotonic(),
                };
                until = Some(since + idle_timeout);
            });
            let until = until.expect("it was set");
            if until <= env.monotonic() {
                return;
            }
            env.sleep_until(until).await;
        }
    }
}

/// A connection that an answer can keep from being idle: for answers that go on.
#[derive(Clone)]
pub(super) struct Open(Arc<dyn KeepsOpen>);

impl Open {
    /// The connection is not idle as long as what this gives lives.
    pub(super) fn keep(&self) -> Kept {
        self.0.keep()
    }

    /// The answer goes on and on: from now on the connection is not idle either while bytes of it are taken.
    pub(super) fn goes_on(&self) {
        self.0.goes_on();
    }
}

/// Something that keeps a connection from being idle.
pub(super) type Kept = Box<dyn Any + Send + Sync>;

trait KeepsOpen: Send + Sync {
    fn keep(&self) -> Kept;
    fn goes_on(&self);
}

impl<E: Env> KeepsOpen for (Arc<Activity>, E) {
    fn keep(&self) -> Kept {
        let (activity, env) = self.clone();
        Box::new(Busy::begin(activity, env))
    }

    fn goes_on(&self) {
        self.0.change(|state| state.goes_on = true);
    }
}

/// A request that is not answered, or an answer that waits for what there is to say.
struct Busy<E: Env> {
    activity: Arc<Activity>,
    env: E,
}

impl<E: Env> Busy<E> {
    fn begin(activity: Arc<Activity>, env: E) -> Busy<E> {
        activity.change(|state| state.open += 1);
        Busy { activity, env }
    }
}

impl<E: Env> Drop for Busy<E> {
    fn drop(&mut self) {
        let now = self.env.monotonic();
        self.activity.change(|state| {
            state.open -= 1;
            state.idle_since = now;
        });
    }
}
