//! `publish` and `withdraw`: the producer's side for shell scripts.

use handoff_watcher::HandoffPayload;
use serde_json::{Map, Value};

use crate::args::{PublishArgs, WithdrawArgs};
use crate::output::{Exit, Failure, Output, complain};
use crate::render;

pub(crate) fn publish(args: PublishArgs) -> Result<Exit, Failure> {
    let payload = payload(&args)?;
    let path = handoff_watcher::publish(args.dir.resolve()?, &payload)?;
    Output::new().value(path.as_os_str())?;
    Ok(Exit::Yes)
}

pub(crate) fn withdraw(args: WithdrawArgs) -> Result<Exit, Failure> {
    let dir = args.dir.resolve()?;
    if handoff_watcher::withdraw(&dir, &args.pool, &args.replica)? {
        return Ok(Exit::Yes);
    }
    let replica = render::replica(&args.pool, &args.replica);
    complain(&format!("there is no handoff of {replica} in {} that publish wrote", dir.display()));
    Ok(Exit::No)
}

/// Through the document, so that what is written is what a watcher was asked about.
fn payload(args: &PublishArgs) -> Result<HandoffPayload, Failure> {
    let mut fields = Map::new();
    let options = [
        ("pool_id", Some(Value::from(args.pool.as_str()))),
        ("replica_id", Some(Value::from(args.replica.as_str()))),
        ("url", Some(Value::from(args.url.as_str()))),
        ("engine", args.engine.as_deref().map(Value::from)),
        ("engine_version", args.engine_version.as_deref().map(Value::from)),
        ("provisioning_mode", args.provisioning_mode.as_deref().map(Value::from)),
        ("device_mask", args.device_mask.as_deref().map(Value::from)),
        ("slots", args.slots.map(Value::from)),
        ("slots_free", args.slots_free.map(Value::from)),
        ("pid", args.pid.map(Value::from)),
        ("model", model(args)),
        ("flags", (!args.flags.is_empty()).then(|| Value::from(args.flags.as_slice()))),
    ];
    let options = options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    for (name, value) in options.chain(args.set.iter().cloned()) {
        if fields.contains_key(&name) {
            return Err(Failure::new(format_args!("field `{name}` is given twice")));
        }
        fields.insert(name, value);
    }
    let document = Value::Object(fields).to_string();
    // The place in a document that nobody has seen would only puzzle.
    HandoffPayload::parse(document.as_bytes()).map_err(|error| Failure::new(error.message()))
}

fn model(args: &PublishArgs) -> Option<Value> {
    let fields = [("id", &args.model_id), ("path", &args.model_path)];
    let fields: Map<String, Value> = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value.as_deref()?))))
        .collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}
