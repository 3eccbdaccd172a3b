//! What a control plane says of workloads, services and policies: any bytes, and what was understood says the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::mesh::Change;
use wire::convert::{
    Context, policy_resource, read_address, read_authorization, service_resource, workload_resource,
};

fuzz_target!(|data: &[u8]| {
    let context = Context::default();
    // The name has to be the resource's own; what is refused for that says which it is.
    let name = |what: &str| what.rsplit_once("and is ").map(|(_, own)| own.trim_matches('"').to_owned());
    let address = read_address("", data, &context);
    let address = match address {
        Err(refused) if refused.error.field == "name" => match name(&refused.error.what) {
            Some(own) => read_address(&own, data, &context),
            None => Err(refused),
        },
        other => other,
    };
    match address {
        Ok(Change::Workload(own)) => {
            let (name, bytes) = workload_resource(&own);
            let Ok(Change::Workload(again)) = read_address(&name, &bytes, &context) else { panic!("{own:?}") };
            assert_eq!(again.modes, own.modes);
            assert_eq!(again.addresses, own.addresses);
        }
        Ok(Change::Service(own)) => {
            let (name, bytes) = service_resource(&own);
            let Ok(Change::Service(again)) = read_address(&name, &bytes, &context) else { panic!("{own:?}") };
            assert_eq!(again, own);
        }
        _ => {}
    }
    let Err(refused) = read_authorization("", data) else { return };
    let Some(own) = name(&refused.error.what) else { return };
    if let Ok(Some(Change::Policy(policy))) = read_authorization(&own, data) {
        let (name, bytes) = policy_resource(&policy);
        let Ok(Some(Change::Policy(again))) = read_authorization(&name, &bytes) else { panic!("{policy:?}") };
        assert_eq!(again, policy);
    }
});
