//! A client of the native protocol: requests with their replies, events apart.

use std::ops::{Deref, DerefMut};

use super::{Client, Value, json, message_id};

/// A native client over a [`Client`].
pub struct Native {
    client: Client,
    next_id: u64,
    /// Result of `hello`.
    pub welcome: Value,
}

impl Deref for Native {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Native {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Native {
    pub fn new(client: Client) -> Self {
        Self { client, next_id: 0, welcome: Value::Null }
    }

    /// Says hello with these fields and keeps the welcome.
    pub fn hello(&mut self, fields: &Value) -> Result<(), Value> {
        let mut hello = json!({"protocol": 1});
        for (name, value) in fields.as_object().expect("an object") {
            hello[name] = value.clone();
        }
        self.welcome = self.request("hello", &hello)?;
        Ok(())
    }

    /// Sends a request without waiting; returns its id.
    pub fn begin(&mut self, kind: &str, fields: &Value) -> String {
        self.next_id += 1;
        let id = format!("r{}", self.next_id);
        let mut frame = fields.clone();
        frame["id"] = json!(id);
        frame["type"] = json!(kind);
        self.client.send(&frame);
        id
    }

    /// Waits for the reply to a request.
    pub fn reply(&mut self, id: &str) -> Result<Value, Value> {
        let reply = self.client.wait(&format!("the reply to {id}"), |frame| frame["id"] == id);
        match reply.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(reply["error"].clone()),
        }
    }

    /// Sends a request and waits for its outcome.
    pub fn request(&mut self, kind: &str, fields: &Value) -> Result<Value, Value> {
        let id = self.begin(kind, fields);
        self.reply(&id)
    }

    /// Sends a request that must succeed.
    pub fn ask(&mut self, kind: &str, fields: &Value) -> Value {
        self.request(kind, fields).unwrap_or_else(|error| panic!("{kind} {fields}: {error}"))
    }

    /// Sends a request that must fail; returns the error's code.
    pub fn refused(&mut self, kind: &str, fields: &Value) -> String {
        match self.request(kind, fields) {
            Err(error) => error["code"].as_str().expect("a code").to_owned(),
            Ok(result) => panic!("{kind} {fields} succeeded: {result}"),
        }
    }

    /// Sends a message with a new id.
    pub fn post(&mut self, conversation: &Value, content: &str) -> Value {
        self.ask("send", &json!({"conversation": conversation, "message_id": message_id(), "content": content}))
    }

    /// Waits for an event.
    pub fn event(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.client.wait(name, |frame| frame["event"] == name && wanted(frame))
    }

    /// Waits for a message's event.
    pub fn message(&mut self, content: &str) -> Value {
        self.event("message", |event| event["content"] == content)
    }

    /// Reads the whole history of a conversation.
    pub fn history(&mut self, conversation: &Value) -> Vec<Value> {
        let (mut events, mut after) = (Vec::new(), json!(0));
        loop {
            let page = self.ask("history", &json!({"conversation": conversation, "after": after, "limit": 200}));
            let more = page["events"].as_array().expect("a list");
            events.extend(more.iter().cloned());
            if page["complete"] == true {
                return events;
            }
            after = events.last().expect("an incomplete page isn't empty")["seq"].clone();
        }
    }

    /// Returns the texts of all messages of a conversation.
    pub fn texts(&mut self, conversation: &Value) -> Vec<String> {
        let messages = self.history(conversation).into_iter().filter(|event| event["event"] == "message");
        messages.map(|event| event["content"].as_str().expect("a text").to_owned()).collect()
    }

    /// Returns what the welcome says of a conversation.
    pub fn listed(&self, conversation: &Value) -> &Value {
        let listed = self.welcome["conversations"].as_array().expect("a list");
        listed.iter().find(|info| info["id"] == *conversation).unwrap_or_else(|| panic!("not listed: {conversation}"))
    }
}
