// Sends telemetry with Application Insights' SDK and with Azure Monitor's exporter
// for OpenTelemetry, both unmodified. The environment has the connection string.
import appInsights from "applicationinsights";
import { trace, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { AzureMonitorTraceExporter } from "@azure/monitor-opentelemetry-exporter";

const connectionString = process.env.APPLICATIONINSIGHTS_CONNECTION_STRING;

const client = new appInsights.TelemetryClient(connectionString);
client.config.samplingPercentage = 100;
client.context.tags[client.context.keys.cloudRole] = "classic";
client.trackRequest({ name: "GET /classic", url: "http://x/classic", duration: 309, resultCode: 200, success: true });
client.trackDependency({ target: "http://db", name: "select", data: "SELECT 1", duration: 31, resultCode: 0, success: true, dependencyTypeName: "SQL" });
client.trackException({ exception: new Error("classic went wrong") });
client.trackTrace({ message: "classic says hello", severity: appInsights.Contracts.SeverityLevel.Warning });
client.trackEvent({ name: "classic event", properties: { colour: "green" }, measurements: { size: 2.5 } });
client.trackMetric({ name: "classic metric", value: 42 });
client.trackPageView({ name: "classic page", url: "http://x/page", duration: 12 });
client.trackAvailability({ id: "a1", name: "classic ping", success: true, duration: 7, runLocation: "here", message: "fine" });
const answer = await new Promise((done) => client.flush({ callback: done }));
console.log("classic: " + answer);

const exporter = new AzureMonitorTraceExporter({ connectionString });
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const tracer = provider.getTracer("test");
const parent = tracer.startSpan("GET /otel", { kind: SpanKind.SERVER, attributes: { "http.request.method": "GET", "http.response.status_code": 503, "url.full": "http://x/otel" } });
const child = tracer.startSpan("query", { kind: SpanKind.CLIENT, attributes: { "db.system": "postgresql", "db.statement": "SELECT 2" } }, trace.setSpan((await import("@opentelemetry/api")).context.active(), parent));
child.recordException(new Error("otel went wrong"));
child.end();
parent.setStatus({ code: SpanStatusCode.ERROR });
parent.end();
await provider.forceFlush();
await provider.shutdown();
console.log("all done");
process.exit(0);
