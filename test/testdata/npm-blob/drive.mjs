// Works with blobs and with a file system, with Azure's packages for JavaScript as
// they are. Arguments: a storage account and its key, and another one with a
// hierarchical namespace and its key.
import assert from "node:assert/strict";
import { BlobServiceClient, StorageSharedKeyCredential, BlobSASPermissions, generateBlobSASQueryParameters, BlobClient } from "@azure/storage-blob";
import { DataLakeServiceClient, StorageSharedKeyCredential as LakeKey } from "@azure/storage-file-datalake";

const [flat, flatKey, tree, treeKey] = process.argv.slice(2);
const key = new StorageSharedKeyCredential(flat, flatKey);
const service = new BlobServiceClient(`https://${flat}.blob.core.windows.net`, key);
const text = async (blob) => (await blob.downloadToBuffer()).toString();

// Block, append and page blobs.
const box = service.getContainerClient("script");
await box.create();
const one = box.getBlockBlobClient("a/one.txt");
await one.upload("hello", 5, { metadata: { by: "script" }, tags: { kind: "greeting" } });
assert.equal(await text(one), "hello");
const big = Buffer.alloc(9 << 20, "0123456789abcdef");
const two = box.getBlockBlobClient("a/two");
await two.uploadData(big, { blockSize: 1 << 20, concurrency: 4 });
assert.ok((await two.downloadToBuffer()).equals(big));
const log = box.getAppendBlobClient("log");
await log.create();
await log.appendBlock("x\n", 2);
await log.appendBlock("y\n", 2);
assert.equal(await text(log), "x\ny\n");
const disk = box.getPageBlobClient("disk");
await disk.create(4096);
await disk.uploadPages(Buffer.alloc(1024, "p"), 512, 1024);
const before = await disk.createSnapshot();
await disk.clearPages(512, 512);
assert.deepEqual((await disk.getPageRanges()).pageRange.map((r) => [r.offset, r.count]), [[1024, 511]]);
const diff = await disk.getPageRangesDiff(0, 4096, before.snapshot);
assert.equal(diff.clearRange.length, 1);

// Conditions, leases, tags, copies, lists.
await assert.rejects(one.upload("z", 1, { conditions: { ifNoneMatch: "*" } }), { statusCode: 409 });
await assert.rejects(one.download(0, 1, { conditions: { tagConditions: "kind = 'farewell'" } }), { statusCode: 412 });
const lease = one.getBlobLeaseClient();
await lease.acquireLease(15);
await assert.rejects(one.delete(), { code: "LeaseIdMissing" });
await lease.releaseLease();
const copy = box.getBlockBlobClient("copy");
assert.equal((await (await copy.beginCopyFromURL(one.url)).pollUntilDone()).copyStatus, "success");
const found = [];
for await (const b of service.findBlobsByTags("kind = 'greeting'")) found.push(b.name);
assert.deepEqual(found, ["a/one.txt"]);
const names = [];
for await (const page of box.listBlobsByHierarchy("/").byPage({ maxPageSize: 2 }))
  for (const i of [...(page.segment.blobPrefixes ?? []), ...page.segment.blobItems]) names.push(i.name);
assert.deepEqual(names.sort(), ["a/", "copy", "disk", "log"]);

// A SAS, and one that was tampered with.
const sas = generateBlobSASQueryParameters({ containerName: "script", blobName: "copy", permissions: BlobSASPermissions.parse("r"), expiresOn: new Date(Date.now() + 3600e3) }, key).toString();
assert.equal(await text(new BlobClient(`${copy.url}?${sas}`)), "hello");
await assert.rejects(new BlobClient(`${one.url}?${sas}`).download(), { statusCode: 403 });
await service.getBlobBatchClient().deleteBlobs([copy, log]);
assert.equal(await copy.exists(), false);

// A static website.
await service.setProperties({ staticWebsite: { enabled: true, indexDocument: "index.html", errorDocument404Path: "404.html" } });
await service.getContainerClient("$web").getBlockBlobClient("index.html").upload("<h1>home</h1>", 13, { blobHTTPHeaders: { blobContentType: "text/html" } });
await box.delete();

// A file system.
const lake = new DataLakeServiceClient(`https://${tree}.dfs.core.windows.net`, new LakeKey(tree, treeKey));
const fs = lake.getFileSystemClient("script");
await fs.create();
const dir = fs.getDirectoryClient("raw/2026");
await dir.create();
const file = dir.getFileClient("part");
await file.create();
await file.append("one,", 0, 4);
await file.append("two", 4, 3);
await file.flush(7);
assert.equal((await file.readToBuffer()).toString(), "one,two");
await file.upload(big, { chunkSize: 1 << 20 });
assert.equal((await file.getProperties()).contentLength, big.length);
await dir.setAccessControl([
  { accessControlType: "user", entityId: "", defaultScope: false, permissions: { read: true, write: true, execute: true } },
  { accessControlType: "group", entityId: "", defaultScope: false, permissions: { read: true, write: false, execute: true } },
  { accessControlType: "other", entityId: "", defaultScope: false, permissions: { read: false, write: false, execute: false } },
]);
assert.equal((await dir.getAccessControl()).permissions.group.read, true);
await fs.getDirectoryClient("raw").move("done");
const paths = [];
for await (const p of fs.listPaths({ recursive: true })) paths.push(p.name);
assert.deepEqual(paths, ["done", "done/2026", "done/2026/part"]);
await fs.getDirectoryClient("done").delete(true);
await fs.delete();
console.log("all done");
