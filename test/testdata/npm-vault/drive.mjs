// Drives a key vault with @azure/keyvault-secrets, -keys and -certificates, unmodified.
// TestAzureSDKForJavaScriptDrivesVaults runs it. argv: vault's address.
import assert from "node:assert/strict";
import { createHash, createPublicKey, verify, X509Certificate } from "node:crypto";
import { EnvironmentCredential } from "@azure/identity";
import { CertificateClient } from "@azure/keyvault-certificates";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";

const [url] = process.argv.slice(2);
const credential = new EnvironmentCredential();
const secrets = new SecretClient(url, credential);
const keys = new KeyClient(url, credential);
const certificates = new CertificateClient(url, credential);
const refused = (call, statusCode, code) => assert.rejects(call, (e) => e.statusCode === statusCode && (!code || e.code === code));
const all = async (it) => { const out = []; for await (const x of it) out.push(x); return out; };
const poll = { intervalInMs: 10 };
const done = (what) => console.log(`ok ${what}`);

// secrets
const first = await secrets.setSecret("db", "one", { contentType: "text/plain", tags: { a: "b" } });
const second = await secrets.setSecret("db", "two");
assert.equal((await secrets.getSecret("db")).value, "two");
assert.equal((await secrets.getSecret("db", { version: first.properties.version })).value, "one");
assert.equal((await all(secrets.listPropertiesOfSecretVersions("db"))).length, 2);
await secrets.updateSecretProperties("db", second.properties.version, { enabled: false });
await refused(secrets.getSecret("db"), 403);
const backup = await secrets.backupSecret("db");
const gone = await (await secrets.beginDeleteSecret("db", poll)).pollUntilDone();
assert.ok(gone.recoveryId.endsWith("/deletedsecrets/db"));
await (await secrets.beginRecoverDeletedSecret("db", poll)).pollUntilDone();
await (await secrets.beginDeleteSecret("db", poll)).pollUntilDone();
assert.deepEqual((await all(secrets.listDeletedSecrets())).map((s) => s.name), ["db"]);
await secrets.purgeDeletedSecret("db");
await refused(secrets.getSecret("db"), 404, "SecretNotFound");
assert.equal((await secrets.restoreSecretBackup(backup)).name, "db");
done("secrets");

// keys
const rsa = await keys.createRsaKey("rsa", { keySize: 2048 });
const crypto = new CryptographyClient(rsa, credential);
const sealed = await crypto.encrypt({ algorithm: "RSA-OAEP-256", plaintext: Buffer.from("hello") });
assert.equal(Buffer.from((await crypto.decrypt({ algorithm: "RSA-OAEP-256", ciphertext: sealed.result })).result).toString(), "hello");
const wrapped = await crypto.wrapKey("RSA-OAEP", Buffer.from("0123456789abcdef"));
assert.equal(Buffer.from((await crypto.unwrapKey("RSA-OAEP", wrapped.result)).result).toString(), "0123456789abcdef");
const ec = await keys.createEcKey("ec", { curve: "P-256" });
const signer = new CryptographyClient(ec, credential);
const signature = await signer.signData("ES256", Buffer.from("text"));
const jwk = { kty: "EC", crv: "P-256", x: Buffer.from(ec.key.x).toString("base64url"), y: Buffer.from(ec.key.y).toString("base64url") };
const verifies = verify("sha256", Buffer.from("text"), { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" }, signature.result);
assert.ok(verifies);
await keys.updateKeyRotationPolicy("rsa", { expiresIn: "P90D", lifetimeActions: [{ action: "Rotate", timeBeforeExpiry: "P30D" }] });
const rotated = await keys.rotateKey("rsa");
assert.notEqual(rotated.properties.version, rsa.properties.version);
await (await keys.beginDeleteKey("ec", poll)).pollUntilDone();
await refused(keys.getKey("ec"), 404, "KeyNotFound");
await keys.purgeDeletedKey("ec");
done("keys");

// certificates
const poller = await certificates.beginCreateCertificate("web", { issuerName: "Self", subject: "CN=web.example", subjectAlternativeNames: { dnsNames: ["web.example"] } }, poll);
const made = await poller.pollUntilDone();
const x509 = new X509Certificate(made.cer);
assert.equal(x509.subject, "CN=web.example");
assert.deepEqual(Buffer.from(made.properties.x509Thumbprint), createHash("sha1").update(made.cer).digest());
assert.equal((await secrets.getSecret("web")).properties.managed, true);
await refused(secrets.beginDeleteSecret("web", poll), 403);
const digest = createHash("sha256").update("text").digest();
const byCertificate = await new CryptographyClient(made.keyId, credential).sign("RS256", digest);
assert.ok(verify("sha256", Buffer.from("text"), x509.publicKey, byCertificate.result));
const policy = await certificates.getCertificatePolicy("web");
assert.equal(policy.issuerName, "Self");
await certificates.updateCertificatePolicy("web", { ...policy, validityInMonths: 24 });
assert.equal((await certificates.getCertificatePolicy("web")).validityInMonths, 24);
await certificates.updateCertificateProperties("web", made.properties.version, { tags: { a: "b" } });
assert.equal((await certificates.getCertificateVersion("web", made.properties.version)).properties.tags.a, "b");

const pem = (await (async () => {
  await (await certificates.beginCreateCertificate("pem", { issuerName: "Self", subject: "CN=pem", contentType: "application/x-pem-file" }, poll)).pollUntilDone();
  return secrets.getSecret("pem");
})()).value;
const imported = await certificates.importCertificate("imported", Buffer.from(pem), { policy: { contentType: "application/x-pem-file", issuerName: "Self", subject: "CN=pem" } });
assert.equal(new X509Certificate(imported.cer).subject, "CN=pem");

await certificates.beginCreateCertificate("pending", { issuerName: "Unknown", subject: "CN=pending" }, poll);
const operation = await certificates.getCertificateOperation("pending", poll);
assert.equal(operation.getOperationState().certificateOperation.status, "inProgress");
await refused(certificates.mergeCertificate("pending", [made.cer]), 400);
await operation.cancelOperation();
await certificates.deleteCertificateOperation("pending");

await certificates.createIssuer("digi", "DigiCert", { accountId: "me", password: "hidden" });
assert.equal((await certificates.getIssuer("digi")).provider, "DigiCert");
assert.deepEqual((await all(certificates.listPropertiesOfIssuers())).map((i) => i.provider), ["DigiCert"]);
await certificates.deleteIssuer("digi");
await certificates.setContacts([{ email: "a@b.example", name: "A" }]);
assert.equal((await certificates.getContacts())[0].email, "a@b.example");

const kept = await certificates.backupCertificate("web");
const deleted = await (await certificates.beginDeleteCertificate("web", poll)).pollUntilDone();
assert.equal(deleted.name, "web");
await (await certificates.beginRecoverDeletedCertificate("web", poll)).pollUntilDone();
await (await certificates.beginDeleteCertificate("web", poll)).pollUntilDone();
await certificates.purgeDeletedCertificate("web");
assert.equal((await certificates.restoreCertificateBackup(kept)).name, "web");
assert.deepEqual((await all(certificates.listPropertiesOfCertificates())).map((c) => c.name).sort(), ["imported", "pem", "web"]);
done("certificates");
console.log("all done");
