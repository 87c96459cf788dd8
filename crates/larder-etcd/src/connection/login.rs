//! The token that etcd gives for a name and a password, fetched once and shared.

use std::sync::{Arc, Mutex, PoisonError};

use larder_registry::Phase;
use tokio::sync::OnceCell;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::fault::Fault;
use crate::api::{self, AuthenticateRequest, AuthenticateResponse, Token};
use crate::options::Credentials;

/// Credentials and what they were last exchanged for.
#[derive(Debug)]
pub(super) struct Login {
    credentials: Credentials,
    /// Replaced when a token is refused.
    session: Mutex<Arc<Session>>,
}

/// One login: however many calls wait for it, one asks. A call that is dropped while it asks lets the
/// next one ask.
#[derive(Debug, Default)]
pub(super) struct Session(OnceCell<Option<Token>>);

impl Session {
    /// The token to send; none if the server wants none.
    pub(super) fn token(&self) -> Option<&Token> {
        self.0.get()?.as_ref()
    }
}

impl Login {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, session: Mutex::default() }
    }

    /// The session, logged in.
    pub(super) async fn session(&self, channel: Channel) -> Result<Arc<Session>, Fault> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let log_in = async || self.log_in(channel).await;
        let logged_in = session.0.get_or_try_init(log_in).await;
        logged_in.map_err(|status| Fault::status(Phase::Login, status))?;
        Ok(session)
    }

    /// Ends the session whose token was refused, unless somebody has ended it already.
    pub(super) fn end(&self, refused: &Arc<Session>) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&session, refused) {
            *session = Arc::default();
        }
    }

    /// Ends the session, whichever it is.
    pub(super) fn end_any(&self) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    async fn log_in(&self, channel: Channel) -> Result<Option<Token>, Status> {
        let Credentials { user, password } = self.credentials.clone();
        let question = AuthenticateRequest { name: user, password };
        let answer: Result<AuthenticateResponse, Status> =
            api::unary(channel, None, "/etcdserverpb.Auth/Authenticate", question).await;
        match answer {
            Ok(answer) => {
                let mut token: Token = answer
                    .token
                    .parse()
                    .map_err(|_| Status::internal("the server's token cannot be sent back"))?;
                token.set_sensitive(true);
                Ok(Some(token))
            }
            // Authentication is not switched on.
            Err(status) if status.code() == Code::FailedPrecondition => Ok(None),
            Err(status) => Err(status),
        }
    }
}
