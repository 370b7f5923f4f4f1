//! The `Streams` service: parses each request and passes it to the module that serves it.

use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    append, auth, batch, convert,
    event_format::EventFormat,
    filter::WireFilter,
    proto::streams::{
        AppendReq, AppendResp, BatchAppendReq, BatchAppendResp, DeleteReq, DeleteResp, ReadReq, ReadResp,
        TombstoneReq, TombstoneResp,
        read_req::options::{
            AllOptions, CountOption, FilterOption, ReadDirection as WireDirection, StreamOption,
            all_options::AllOption,
        },
        streams_server::Streams,
    },
    read::{self, LogRead, StreamRead},
    shared::{NodeContext, ResponseStream},
    subscribe,
};
use crate::ReadDirection;

#[async_trait]
impl Streams for NodeContext {
    type ReadStream = ResponseStream<ReadResp>;
    type BatchAppendStream = ResponseStream<BatchAppendResp>;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        read_or_subscribe(self.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn append(&self, request: Request<Streaming<AppendReq>>) -> Result<Response<AppendResp>, Status> {
        auth::check_may_write(&request)?;
        append::append(&self.store, request.into_inner()).await.map(Response::new)
    }

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        auth::check_may_write(&request)?;
        append::delete(&self.store, request.into_inner()).await.map(Response::new)
    }

    async fn tombstone(&self, request: Request<TombstoneReq>) -> Result<Response<TombstoneResp>, Status> {
        auth::check_may_write(&request)?;
        append::tombstone(&self.store, request.into_inner()).await.map(Response::new)
    }

    async fn batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Self::BatchAppendStream>, Status> {
        auth::check_may_write(&request)?;
        Ok(Response::new(batch::append(self.clone(), request.into_inner())))
    }
}

/// Serves the one call of the protocol that is a read if it has a count, and else a subscription.
async fn read_or_subscribe(node: NodeContext, request: ReadReq) -> Result<ResponseStream<ReadResp>, Status> {
    let invalid = Status::invalid_argument;
    let options = request.options.ok_or_else(|| invalid("the request has no options"))?;
    let format = EventFormat::parse(&options)?;
    let direction = match options.read_direction() {
        WireDirection::Forwards => ReadDirection::Forwards,
        WireDirection::Backwards => ReadDirection::Backwards,
    };
    let filter = match options.filter_option {
        Some(FilterOption::Filter(filter)) => Some(WireFilter::parse(filter)?),
        Some(FilterOption::NoFilter(_)) => None,
        None => return Err(invalid("the request has neither a filter nor no_filter")),
    };
    let count = match options.count_option {
        Some(CountOption::Count(count)) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
        Some(CountOption::Subscription(_)) => None,
        None => return Err(invalid("the request has neither a count nor a subscription")),
    };
    if let Some(StreamOption::All(AllOptions { all_option: Some(AllOption::Position(at)) })) =
        options.stream_option
        && at.prepare_position > at.commit_position
    {
        return Err(invalid("the position's prepare is beyond its commit"));
    }
    match (options.stream_option, count) {
        (Some(StreamOption::Stream(_)), _) if filter.is_some() => {
            Err(invalid("only $all can be read with a filter"))
        }
        (_, None) if direction == ReadDirection::Backwards => {
            Err(invalid("a subscription can only go forwards"))
        }
        (_, None) if filter.as_ref().is_some_and(|filter| filter.interval == 0) => {
            Err(invalid("the filter has a checkpoint interval of 0 windows"))
        }
        (Some(StreamOption::Stream(stream)), count) => {
            let from = stream.revision_option.ok_or_else(|| invalid("the request has no revision"))?;
            let stream = convert::stream_name(stream.stream_identifier)?;
            let Some(count) = count else { return subscribe::to_stream(node, stream, from, format).await };
            let tells_revisions = options.control_option.is_some_and(|control| control.compatibility >= 1);
            let read = StreamRead { stream, direction, count, tells_revisions, format };
            read::stream_events(node, from, read).await
        }
        (Some(StreamOption::All(AllOptions { all_option: Some(from) })), Some(count)) => {
            Ok(read::log_events(node, from, LogRead { direction, count, filter, format }))
        }
        (Some(StreamOption::All(AllOptions { all_option: Some(from) })), None) => {
            Ok(subscribe::to_all(node, from, filter, format))
        }
        (Some(StreamOption::All(_)), _) => Err(invalid("the request has no position")),
        (None, _) => Err(invalid("the request names neither a stream nor $all")),
    }
}
