//! Who the agent asks as: the one place that knows where its login comes from.
//!
//! That is the token of the connection's settings, or what `valetkey login` keeps, renewed here when it is time. A file is read again for each vend, so that a token that another program
//! renews (a mounted service account's, say) is used as soon as it is there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::cli::client::Client;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::login;
use crate::cli::output::Out;

/// A login that lasts as long as the process.
pub(crate) struct Login<'a> {
    connection: &'a Connection,
    environment: BTreeMap<String, String>,
    out: &'a Out,
    client: RefCell<Rc<Client<'a>>>,
}

impl<'a> Login<'a> {
    /// Reads the settings. Nothing is sent yet.
    ///
    /// # Errors
    /// When there is no token, or it may not be sent to that server.
    pub(crate) fn new(
        connection: &'a Connection,
        environment: BTreeMap<String, String>,
        out: &'a Out,
    ) -> Result<Self, Failure> {
        let client = Client::new(connection.target(&environment, out)?, out)?;
        Ok(Self { connection, environment, out, client: RefCell::new(Rc::new(client)) })
    }

    /// The client to ask with now.
    ///
    /// # Errors
    /// When the token's file is gone, or holds none, or the login has ended.
    pub(crate) async fn client(&self) -> Result<Rc<Client<'a>>, Failure> {
        login::renew(self.connection, &self.environment, self.out).await?;
        let known = Rc::clone(&self.client.borrow());
        match self.connection.token_again(&self.environment, self.out)? {
            Some(token) if !known.asks_with(&token) => {
                let renewed = Rc::new(known.with_token(token));
                self.client.replace(Rc::clone(&renewed));
                Ok(renewed)
            }
            Some(_) | None => Ok(known),
        }
    }
}
