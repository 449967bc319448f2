//! The service of the example.

use std::{pin::Pin, time::Duration};

use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

pub use crate::proto::{
    Number, Pair,
    tally_client::TallyClient,
    tally_server::{Tally, TallyServer},
};

/// Adds numbers. Clones share the count of calls in progress.
#[derive(Debug, Clone, Default)]
pub struct Adder {
    under_way: watch::Sender<usize>,
}

/// Counts a call as in progress until this value is dropped, which happens when the call ends or is
/// cancelled.
struct UnderWay(watch::Sender<usize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

impl Adder {
    /// Returns the number of calls of [`Tally::wait`] and [`Tally::count`] that are in progress.
    pub fn under_way(&self) -> watch::Receiver<usize> {
        self.under_way.subscribe()
    }

    fn begin(&self) -> UnderWay {
        self.under_way.send_modify(|calls| *calls += 1);
        UnderWay(self.under_way.clone())
    }
}

type Numbers = Pin<Box<dyn Stream<Item = Result<Number, Status>> + Send>>;

fn add(left: u64, right: u64) -> Result<u64, Status> {
    left.checked_add(right).ok_or_else(|| Status::out_of_range("more than 64 bits"))
}

#[tonic::async_trait]
impl Tally for Adder {
    type CountStream = Numbers;
    type RunningSumStream = Numbers;

    async fn add(&self, request: Request<Pair>) -> Result<Response<Number>, Status> {
        let Pair { left, right } = request.into_inner();
        Ok(Response::new(Number { value: add(left, right)? }))
    }

    async fn count(&self, request: Request<Number>) -> Result<Response<Numbers>, Status> {
        let end = match request.into_inner().value {
            0 => u64::MAX,
            end => end,
        };
        let call = self.begin();
        let numbers = tokio_stream::iter(0..end).map(move |value| {
            let _call = &call;
            Ok(Number { value })
        });
        Ok(Response::new(Box::pin(numbers)))
    }

    async fn sum(&self, request: Request<Streaming<Number>>) -> Result<Response<Number>, Status> {
        let (mut numbers, mut value) = (request.into_inner(), 0);
        while let Some(number) = numbers.message().await? {
            value = add(value, number.value)?;
        }
        Ok(Response::new(Number { value }))
    }

    async fn running_sum(
        &self,
        request: Request<Streaming<Number>>,
    ) -> Result<Response<Numbers>, Status> {
        let (mut numbers, mut value) = (request.into_inner(), 0);
        let sums = async_stream::try_stream! {
            while let Some(number) = numbers.message().await? {
                value = add(value, number.value)?;
                yield Number { value };
            }
        };
        Ok(Response::new(Box::pin(sums)))
    }

    async fn wait(&self, request: Request<Number>) -> Result<Response<Number>, Status> {
        let _call = self.begin();
        let Number { value } = request.into_inner();
        tokio::time::sleep(Duration::from_millis(value)).await;
        Ok(Response::new(Number { value }))
    }
}
