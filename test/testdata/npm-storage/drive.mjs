// Drives queues, tables and file shares with Azure's own packages, unmodified.
// TestStorageServices runs it. argv: account, key.
import assert from "node:assert/strict";
import { AzureNamedKeyCredential, TableClient, TableServiceClient, odata } from "@azure/data-tables";
import { ShareServiceClient, StorageSharedKeyCredential as FileKey } from "@azure/storage-file-share";
import { QueueServiceClient, StorageSharedKeyCredential as QueueKey } from "@azure/storage-queue";

const [account, key] = process.argv.slice(2);
const done = (what) => console.log(`ok ${what}`);
const all = async (list) => {
  const out = [];
  for await (const each of list) out.push(each);
  return out;
};
const refused = (call, statusCode) => assert.rejects(call, (e) => e.statusCode === statusCode);

// queues
const queues = new QueueServiceClient(`https://${account}.queue.core.windows.net`, new QueueKey(account, key));
const jobs = queues.getQueueClient("js-jobs");
await jobs.create({ metadata: { owner: "ann" } });
await jobs.sendMessage("one & <two>");
await jobs.sendMessage("later", { visibilityTimeout: 60, messageTimeToLive: -1 });
const { receivedMessageItems } = await jobs.receiveMessages({ numberOfMessages: 32 });
assert.deepEqual(receivedMessageItems.map((m) => m.messageText), ["one & <two>"]);
const { messageId, popReceipt } = receivedMessageItems[0];
const updated = await jobs.updateMessage(messageId, popReceipt, "changed", 0);
assert.equal((await jobs.peekMessages()).peekedMessageItems[0].messageText, "changed");
await refused(jobs.deleteMessage(messageId, popReceipt), 400);
await jobs.deleteMessage(messageId, updated.popReceipt);
const properties = await jobs.getProperties();
assert.equal(properties.approximateMessagesCount, 1);
assert.equal(properties.metadata.owner, "ann");
assert.ok((await all(queues.listQueues({ prefix: "js-" }))).length === 1);
await jobs.delete();
await refused(jobs.getProperties(), 404);
done("queues");

// tables
const credential = new AzureNamedKeyCredential(account, key);
const url = `https://${account}.table.core.windows.net`;
const tables = new TableServiceClient(url, credential);
const runs = new TableClient(url, "jsruns", credential);
await runs.createTable();
await runs.createEntity({ partitionKey: "o'neil", rowKey: "1", n: 5, d: 2.5, big: 9007199254740993n, when: new Date(0), bytes: new Uint8Array([0, 255]), yes: true, s: "ü\"" });
const entity = await runs.getEntity("o'neil", "1");
assert.equal(entity.big, 9007199254740993n);
assert.equal(entity.when.valueOf(), 0);
assert.deepEqual([...entity.bytes], [0, 255]);
assert.deepEqual([entity.n, entity.d, entity.yes, entity.s], [5, 2.5, true, "ü\""]);
await refused(runs.createEntity({ partitionKey: "o'neil", rowKey: "1" }), 409);
await runs.updateEntity({ partitionKey: "o'neil", rowKey: "1", n: 6 }, "Merge", { etag: entity.etag });
await refused(runs.updateEntity({ partitionKey: "o'neil", rowKey: "1", n: 7 }, "Replace", { etag: entity.etag }), 412);
const actions = [];
for (let i = 0; i < 60; i++) actions.push(["create", { partitionKey: "p", rowKey: String(i).padStart(3, "0"), n: i }]);
actions.push(["upsert", { partitionKey: "p", rowKey: "x", n: 1 }, "Replace"]);
const answer = await runs.submitTransaction(actions);
assert.equal(answer.subResponses.length, 61);
await refused(runs.submitTransaction([["delete", { partitionKey: "p", rowKey: "x" }], ["create", { partitionKey: "p", rowKey: "001" }]]), 409);
const found = await all(runs.listEntities({ queryOptions: { filter: odata`PartitionKey eq ${"p"} and n ge ${55}`, select: ["rowKey", "n"] } }));
assert.deepEqual(found.map((e) => e.n), [55, 56, 57, 58, 59]);
const pages = await all(runs.listEntities({ queryOptions: { filter: odata`PartitionKey eq 'p'` } }).byPage({ maxPageSize: 20 }));
assert.deepEqual(pages.map((p) => p.length), [20, 20, 20, 1]);
assert.ok((await all(tables.listTables({ queryOptions: { filter: odata`TableName eq 'jsruns'` } }))).length === 1);
await runs.deleteEntity("p", "x");
await runs.deleteTable();
await refused(runs.getEntity("p", "001"), 404);
done("tables");

// files
const shares = new ShareServiceClient(`https://${account}.file.core.windows.net`, new FileKey(account, key));
const box = shares.getShareClient("js-box");
await box.create({ quota: 3, metadata: { owner: "ann" } });
const dir = box.getDirectoryClient("data");
await dir.create();
const text = "hello ".repeat(1_000_000);
const file = dir.getFileClient("a b.txt");
await file.uploadData(Buffer.from(text), { fileHttpHeaders: { fileContentType: "text/plain" }, metadata: { k: "v" } });
const back = await file.downloadToBuffer();
assert.equal(back.toString(), text);
const described = await file.getProperties();
assert.deepEqual([described.contentLength, described.contentType, described.metadata.k, described.fileAttributes], [text.length, "text/plain", "v", "Archive"]);
assert.deepEqual((await all(dir.listFilesAndDirectories({ includeTimestamps: true, includeEtag: true }))).map((e) => [e.kind, e.name, e.properties.contentLength]), [["file", "a b.txt", text.length]]);
await file.rename("data/moved.txt");
await refused(file.getProperties(), 404);
await refused(dir.delete(), 409);
await dir.getFileClient("moved.txt").delete();
await dir.delete();
assert.equal((await box.getProperties()).quota, 3);
await box.delete();
await refused(box.getProperties(), 404);
done("files");

console.log("all done");
