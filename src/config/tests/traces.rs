//! Where traces go, by the variables that every OpenTelemetry library reads.

use super::*;

#[test]
fn the_variables_of_opentelemetry_say_where_traces_go() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    let env = [
        endpoint,
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=chat"),
        ("OTEL_SERVICE_NAME", "web"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
    ];
    let loaded = load("", &env, &[]).unwrap();
    assert!(loaded.warnings.is_empty());
    assert!(!format!("{loaded:?}").contains("hunter2"));
    let trace = &loaded.config.trace;
    let posted = trace.endpoint.as_ref().unwrap().uri().to_string();
    assert_eq!(posted, "http://collector:4318/v1/traces");
    assert_eq!(trace.headers.as_ref().unwrap().expose()[0].0, "api-key");
    assert_eq!(trace.service_name.as_deref(), Some("web"));
    assert_eq!(
        trace.resource_attributes.iter().next(),
        Some(("team", "chat"))
    );
    assert_eq!(trace.sampler, trace::Sampler::ParentOrRatio);
    assert_eq!((trace.sampler_arg.get(), trace.queue_spans), (0.25, 100));

    for off in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ] {
        let config = load("", &[endpoint, off], &[]).unwrap().config;
        assert_eq!(config.trace.endpoint, None, "{off:?}");
        let ours = [("trace.endpoint", "http://localhost:4318")];
        let config = load("", &[endpoint, off], &ours).unwrap().config;
        assert!(config.trace.endpoint.is_some(), "{off:?}");
    }
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert_eq!(
        warnings("", &[endpoint, grpc], &[]),
        [
            "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, which is not spoken here, so nothing is traced: \
             set trace.endpoint to the collector's HTTP port, as http://collector:4318"
        ]
    );
    assert!(warnings("", &[grpc], &[]).is_empty());
}
