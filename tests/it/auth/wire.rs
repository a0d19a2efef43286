//! Somebody who asks a server for something.

use serde_json::{Value, json};

use super::token::{Key, bearer, now};
use crate::support::{Answer, Server, Socket, request, socket::path_of};

/// A caller, by the header that says who it is.
pub struct Caller<'a> {
    server: &'a Server,
    authorization: Option<String>,
}

impl<'a> Caller<'a> {
    pub fn anonymous(server: &'a Server) -> Self {
        Caller {
            server,
            authorization: None,
        }
    }

    pub fn known(server: &'a Server, user: &str) -> Self {
        Caller {
            server,
            authorization: Some(bearer(user)),
        }
    }

    /// Somebody whose token was good once.
    pub fn expired(server: &'a Server, user: &str) -> Self {
        let claims = json!({"sub": user, "exp": now() - 3600});
        Caller {
            server,
            authorization: Some(format!("Bearer {}", Key::secret().token(&claims))),
        }
    }

    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut headers = Vec::new();
        if let Some(authorization) = &self.authorization {
            headers.push(("Authorization", authorization.as_str()));
        }
        let path = format!("/api/chat/{path}");
        self.server
            .send(request(method, &path, &headers, body))
            .await
    }

    /// A socket with its history unread, or the refusal.
    pub async fn socket(&self, conversation: &str) -> Result<Socket, Answer> {
        let header = self.authorization.as_ref();
        let header = header.map_or_else(String::new, |it| format!("Authorization: {it}\r\n"));
        let connection = self.server.connect().await;
        Socket::try_open(connection, &path_of(conversation), &header).await
    }

    /// The id of the conversation of these two, made if there is none.
    pub async fn conversation_of(&self, one: &str, other: &str) -> String {
        let body = json!({"participant1_id": one, "participant2_id": other});
        let answer = self.ask("POST", "conversations/", Some(&body)).await;
        answer.json()["id"].as_str().unwrap().to_owned()
    }
}
