// Drives a registry with @azure/container-registry, unmodified. TestRegistry runs it.
// argv: endpoint.
import assert from "node:assert/strict";
import { ContainerRegistryClient, ContainerRegistryContentClient, KnownContainerRegistryAudience } from "@azure/container-registry";
import { EnvironmentCredential } from "@azure/identity";

const [endpoint] = process.argv.slice(2);
const options = { audience: KnownContainerRegistryAudience.AzureResourceManagerPublicCloud };
const credential = new EnvironmentCredential();
const content = new ContainerRegistryContentClient(endpoint, "js/image", credential, options);
const client = new ContainerRegistryClient(endpoint, credential, options);
const refused = (call, statusCode) => assert.rejects(call, (e) => e.statusCode === statusCode);
const done = (what) => console.log(`ok ${what}`);

// push and pull; the client sends a layer in chunks of 4 MiB
const config = Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux" }));
const layer = Buffer.alloc(5 << 20, "layer");
const up = { config: await content.uploadBlob(config), layer: await content.uploadBlob(layer) };
assert.equal(up.layer.sizeInBytes, layer.length);
const descriptor = (mediaType, blob) => ({ mediaType, digest: blob.digest, size: blob.sizeInBytes });
const manifest = {
  schemaVersion: 2,
  config: descriptor("application/vnd.oci.image.config.v1+json", up.config),
  layers: [descriptor("application/vnd.oci.image.layer.v1.tar", up.layer)],
};
const { digest } = await content.setManifest(manifest, { tag: "v1" });
const got = await content.getManifest("v1");
assert.equal(got.digest, digest);
assert.deepEqual(got.manifest.layers[0].digest, up.layer.digest);
let size = 0;
for await (const chunk of (await content.downloadBlob(up.layer.digest)).content) size += chunk.length;
assert.equal(size, layer.length);
done("push and pull");

// lists and properties
const names = [];
for await (const name of client.listRepositoryNames()) names.push(name);
assert.ok(names.includes("js/image"));
const image = client.getArtifact("js/image", "v1");
const properties = await image.getManifestProperties();
assert.equal(properties.architecture, "amd64");
assert.deepEqual(properties.tags, ["v1"]);
for await (const tag of image.listTagProperties()) assert.equal(tag.digest, digest);
const locked = await image.updateTagProperties("v1", { canWrite: false, canDelete: false });
assert.equal(locked.canDelete, false);
await refused(image.deleteTag("v1"), 405);
await image.updateTagProperties("v1", { canWrite: true, canDelete: true });
await image.deleteTag("v1");
await refused(image.getTagProperties("v1"), 404);
await content.deleteManifest(digest);
await client.deleteRepository("js/image");
await refused(client.getRepository("js/image").getProperties(), 404);
done("lists and properties");
console.log("all done");
