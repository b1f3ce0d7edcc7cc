// Drives a workspace with @azure/arm-machinelearning, unmodified. TestAzureSDKForJavaScript
// runs it. argv: resource group, workspace, cluster.
import assert from "node:assert/strict";
import { AzureMachineLearningWorkspaces } from "@azure/arm-machinelearning";
import { EnvironmentCredential } from "@azure/identity";

const [group, workspace, cluster] = process.argv.slice(2);
const client = new AzureMachineLearningWorkspaces(new EnvironmentCredential(), process.env.AZURE_SUBSCRIPTION_ID);
const names = async (list) => {
  const out = [];
  for await (const each of list) out.push(each.name);
  return out;
};
const refused = (call, statusCode) => assert.rejects(call, (e) => e.statusCode === statusCode);
const done = (what) => console.log(`ok ${what}`);
const poll = { updateIntervalInMs: 50 };

// workspace
const ws = await client.workspaces.get(group, workspace);
assert.equal(ws.name, workspace);
assert.equal(ws.provisioningState, "Succeeded");
assert.deepEqual(await names(client.workspaces.listByResourceGroup(group)), [workspace]);
await refused(client.workspaces.get(group, "mlw-none"), 404);
done("workspace");

// compute
const made = await client.computeOperations.beginCreateOrUpdateAndWait(group, workspace, "js-cluster", {
  location: ws.location,
  properties: {
    computeType: "AmlCompute",
    properties: { vmSize: "Standard_DS2_v2", scaleSettings: { minNodeCount: 0, maxNodeCount: 2, nodeIdleTimeBeforeScaleDown: "PT5M" } },
  },
}, poll);
assert.equal(made.properties.properties.vmSize, "Standard_DS2_v2");
const resized = await client.computeOperations.beginUpdateAndWait(group, workspace, "js-cluster", {
  properties: { scaleSettings: { minNodeCount: 0, maxNodeCount: 4, nodeIdleTimeBeforeScaleDown: "PT5M" } },
}, poll);
assert.equal(resized.properties.properties.scaleSettings.maxNodeCount, 4);
assert.deepEqual(await names(client.computeOperations.list(group, workspace)), [cluster, "js-cluster"]);
await client.computeOperations.beginDeleteAndWait(group, workspace, "js-cluster", "Delete", poll);
await refused(client.computeOperations.get(group, workspace, "js-cluster"), 404);
done("compute");

// connections
const repo = "https://example.com/repo";
const code = await client.workspaceConnections.create(group, workspace, "code", {
  properties: { authType: "PAT", category: "Git", target: repo, credentials: { pat: "token" } },
});
assert.equal(code.properties.target, repo);
assert.equal(code.properties.credentials ?? null, null);
assert.deepEqual(await names(client.workspaceConnections.list(group, workspace, { category: "Git" })), ["code"]);
assert.deepEqual(await names(client.workspaceConnections.list(group, workspace, { target: "elsewhere" })), []);
await client.workspaceConnections.delete(group, workspace, "code");
await refused(client.workspaceConnections.get(group, workspace, "code"), 404);
done("connections");

// datastores
assert.deepEqual(await names(client.datastores.list(group, workspace, { isDefault: true })), ["workspaceblobstore"]);
const secrets = await client.datastores.listSecrets(group, workspace, "workspaceblobstore");
assert.equal(secrets.secretsType, "AccountKey");
assert.ok(secrets.key);
done("datastores");

// assets
for (const version of ["1", "2"]) {
  await client.environmentVersions.createOrUpdate(group, workspace, "plain", version, { properties: { image: "library/python:3.12-slim" } });
  await client.dataVersions.createOrUpdate(group, workspace, "table", version, {
    properties: { dataType: "uri_folder", dataUri: `azureml://datastores/workspaceblobstore/paths/t${version}/`, tags: { v: version } },
  });
  await client.modelVersions.createOrUpdate(group, workspace, "net", version, {
    properties: { modelType: "custom_model", modelUri: `azureml://datastores/workspaceblobstore/paths/m${version}/` },
  });
}
assert.deepEqual(await names(client.environmentVersions.list(group, workspace, "plain", { top: 1 })), ["2", "1"]);
assert.deepEqual(await names(client.dataVersions.list(group, workspace, "table", { tags: "v=1" })), ["1"]);
assert.deepEqual(await names(client.modelContainers.list(group, workspace)), ["net"]);
const old = await client.modelVersions.get(group, workspace, "net", "1");
await client.modelVersions.createOrUpdate(group, workspace, "net", "1", { properties: { ...old.properties, isArchived: true } });
assert.deepEqual(await names(client.modelVersions.list(group, workspace, "net")), ["2"]);
assert.deepEqual(await names(client.modelVersions.list(group, workspace, "net", { listViewType: "ArchivedOnly" })), ["1"]);
await client.componentVersions.createOrUpdate(group, workspace, "step", "1", { properties: { componentSpec: { type: "command", command: "echo" } } });
assert.equal((await client.componentVersions.get(group, workspace, "step", "1")).properties.componentSpec.command, "echo");
done("assets");

// jobs
const command = (text) => ({
  properties: {
    jobType: "Command", command: text, experimentName: "js",
    environmentId: `${ws.id}/environments/plain/versions/1`, computeId: `${ws.id}/computes/${cluster}`,
    inputs: { who: { jobInputType: "literal", value: "world" } },
  },
});
const status = async (name) => (await client.jobs.get(group, workspace, name)).properties.status;
await client.jobs.createOrUpdate(group, workspace, "hello", command("echo hello ${{inputs.who}}"));
while (!["Completed", "Failed", "Canceled"].includes(await status("hello")));
assert.equal(await status("hello"), "Completed");
await client.jobs.createOrUpdate(group, workspace, "endless", command("sleep 600; echo ${{inputs.who}}"));
await client.jobs.beginCancelAndWait(group, workspace, "endless", poll);
assert.equal(await status("endless"), "Canceled");
assert.deepEqual(await names(client.jobs.list(group, workspace)), ["endless", "hello"]);
await client.jobs.beginDeleteAndWait(group, workspace, "endless", poll);
assert.deepEqual(await names(client.jobs.list(group, workspace, { jobType: "Command" })), ["hello"]);
await refused(client.jobs.createOrUpdate(group, workspace, "bad", command("echo ${{inputs.nothing}}")), 400);
done("jobs");
console.log("all done");
