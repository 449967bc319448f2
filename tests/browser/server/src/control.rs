//! The control service, which gives the tests in a page their servers. A request and its answer are
//! words on one stream.
//!
//! | request | answer |
//! |---|---|
//! | `url WIRE` | the URL of a server |
//! | `mortal WIRE` | the URL of a server in a process of its own, and the id of that process |
//! | `kill PROCESS` | an empty answer, after the process has ended |
//! | `slow WIRE RATE` | the URL of a server behind a network with this rate in bytes a second |
//! | `hole WIRE` | the URL of a server behind a network, and the number of that network |
//! | `silence NUMBER` | an empty answer; from then on the network of this number carries nothing |
//! | `mute` | the URL of a server that accepts TCP and never sends anything |
//! | `saw WIRE CODE` | the reason in the close with this code, once a client sends such a close |

use std::{collections::HashMap, process::Stdio, sync::Arc};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::Mutex,
};
use wsmux::{WebSocketServer, WebSocketStream};

use crate::{
    MORTAL,
    relay::Relay,
    service::{Service, Wire},
};

/// The maximum length of a request in bytes, which is far more than any request needs.
const MAX_REQUEST: usize = 1024;

struct Control {
    services: HashMap<&'static str, Service>,
    children: Mutex<HashMap<u32, Child>>,
    relays: Mutex<Vec<Relay>>,
}

/// Starts all servers, and returns the URL of the control service.
pub(crate) async fn start() -> Result<String> {
    let mut services = HashMap::new();
    for wire in Wire::ALL {
        services.insert(wire.name(), Service::start(wire).await?);
    }
    let control =
        Arc::new(Control { services, children: Mutex::default(), relays: Mutex::default() });
    let server = WebSocketServer::builder().bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/", server.local_addr()?);
    tokio::spawn(async move {
        while let Some(connecting) = server.accept().await {
            let control = control.clone();
            tokio::spawn(async move {
                let connection = connecting.await?;
                while let Ok(stream) = connection.accept_bi().await {
                    let control = control.clone();
                    tokio::spawn(async move { control.answer(stream).await });
                }
                anyhow::Ok(())
            });
        }
    });
    Ok(url)
}

impl Control {
    async fn answer(&self, stream: WebSocketStream) -> Result<()> {
        let (mut send, mut recv) = stream.into_split();
        let request = String::from_utf8(recv.read_to_end(MAX_REQUEST).await?)?;
        match self.do_as(&request).await {
            Ok(answer) => send.write_all(answer.as_bytes()).await?,
            Err(error) => send.write_all(format!("error: {request}: {error:#}").as_bytes()).await?,
        }
        send.finish()?;
        send.stopped().await?;
        Ok(())
    }

    async fn do_as(&self, request: &str) -> Result<String> {
        let words: Vec<_> = request.split(' ').collect();
        Ok(match words[..] {
            ["url", wire] => self.service(wire)?.url().to_owned(),
            ["mortal", wire] => self.bear(wire).await?,
            ["kill", process] => {
                let child = self.children.lock().await.remove(&process.parse()?);
                child.context("a process that lives")?.kill().await?;
                String::new()
            }
            ["slow", wire, rate] => {
                let relay = Relay::start(self.service(wire)?.url(), Some(rate.parse()?)).await?;
                let url = relay.url().to_owned();
                self.relays.lock().await.push(relay);
                url
            }
            ["hole", wire] => {
                let relay = Relay::start(self.service(wire)?.url(), None).await?;
                let mut relays = self.relays.lock().await;
                let answer = format!("{} {}", relay.url(), relays.len());
                relays.push(relay);
                answer
            }
            ["silence", number] => {
                let relays = self.relays.lock().await;
                relays.get(number.parse::<usize>()?).context("a network")?.silence();
                String::new()
            }
            ["mute"] => {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let url = format!("ws://{}/", listener.local_addr()?);
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    while let Ok(tcp) = listener.accept().await {
                        taken.push(tcp);
                    }
                });
                url
            }
            ["saw", wire, code] => self.service(wire)?.saw(code.parse()?).await,
            _ => bail!("no such request"),
        })
    }

    fn service(&self, wire: &str) -> Result<&Service> {
        self.services.get(wire).with_context(|| format!("{wire:?} is no wire"))
    }

    /// Starts a server in a process of its own, which can be killed.
    async fn bear(&self, wire: &str) -> Result<String> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([MORTAL, wire])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("its output")?;
        let url = BufReader::new(stdout).lines().next_line().await?.context("its URL")?;
        let id = child.id().context("its number")?;
        self.children.lock().await.insert(id, child);
        Ok(format!("{url} {id}"))
    }
}
