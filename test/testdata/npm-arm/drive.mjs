// Drives the control plane with the @azure/arm-* packages, unmodified. TestControlPlaneOfJavaScript
// runs it. It leaves nothing.
import assert from "node:assert/strict";
import { AuthorizationManagementClient } from "@azure/arm-authorization";
import { KeyVaultManagementClient } from "@azure/arm-keyvault";
import { ManagementLockClient } from "@azure/arm-locks";
import { ManagedServiceIdentityClient } from "@azure/arm-msi";
import { NetworkManagementClient } from "@azure/arm-network";
import { ResourceManagementClient } from "@azure/arm-resources";
import { StorageManagementClient } from "@azure/arm-storage";
import { EnvironmentCredential } from "@azure/identity";

const subscription = process.env.AZURE_SUBSCRIPTION_ID;
const credential = new EnvironmentCredential();
const of = (Client) => new Client(credential, subscription);
const resources = of(ResourceManagementClient), network = of(NetworkManagementClient), storage = of(StorageManagementClient);
const vaults = of(KeyVaultManagementClient).vaults, identities = of(ManagedServiceIdentityClient);
const access = of(AuthorizationManagementClient), locks = of(ManagementLockClient).managementLocks;
const names = async (list) => {
  const out = [];
  for await (const each of list) out.push(each.name);
  return out.sort();
};
const refused = (call, statusCode, code) => assert.rejects(call, (e) => e.statusCode === statusCode && (!code || e.code === code));
const done = (what) => console.log(`ok ${what}`);
const poll = { updateIntervalInMs: 50 };
const group = "rg-npm", location = "westeurope", tags = { team: "ml" };
const groupId = `/subscriptions/${subscription}/resourceGroups/${group}`;

// resources
await resources.resourceGroups.createOrUpdate(group, { location });
assert.equal((await resources.resourceGroups.update(group, { tags })).tags.team, "ml");
assert.deepEqual(await names(resources.resourceGroups.list({ filter: "tagName eq 'team' and tagValue eq 'ml'" })), [group]);
await refused(resources.resourceGroups.get("rg-none"), 404, "ResourceGroupNotFound");
assert.equal((await resources.providers.get("Microsoft.Network")).registrationState, "Registered");
done("resource group");

// network
const nsg = await network.networkSecurityGroups.beginCreateOrUpdateAndWait(group, "nsg", { location }, poll);
assert.ok(nsg.defaultSecurityRules.length > 0);
await network.securityRules.beginCreateOrUpdateAndWait(group, "nsg", "in", {
  access: "Allow", direction: "Inbound", priority: 100, protocol: "Tcp",
  sourceAddressPrefix: "*", sourcePortRange: "*", destinationAddressPrefix: "*", destinationPortRange: "44224",
}, poll);
await network.routeTables.beginCreateOrUpdateAndWait(group, "rt", { location, routes: [{ name: "out", addressPrefix: "0.0.0.0/0", nextHopType: "Internet" }] }, poll);
const hub = await network.virtualNetworks.beginCreateOrUpdateAndWait(group, "hub", { location, addressSpace: { addressPrefixes: ["10.0.0.0/16"] } }, poll);
const spoke = await network.virtualNetworks.beginCreateOrUpdateAndWait(group, "spoke", { location, addressSpace: { addressPrefixes: ["10.1.0.0/16"] }, subnets: [{ name: "compute", addressPrefix: "10.1.1.0/24", networkSecurityGroup: { id: nsg.id } }] }, poll);
assert.equal(spoke.subnets[0].networkSecurityGroup.id, nsg.id);
const endpoints = await network.subnets.beginCreateOrUpdateAndWait(group, "hub", "endpoints", { addressPrefix: "10.0.1.0/24" }, poll);
for (const [from, to] of [["hub", spoke], ["spoke", hub]]) {
  await network.virtualNetworkPeerings.beginCreateOrUpdateAndWait(group, from, "peer", { remoteVirtualNetwork: { id: to.id }, allowVirtualNetworkAccess: true }, poll);
}
assert.equal((await network.virtualNetworkPeerings.get(group, "hub", "peer")).peeringState, "Connected");
const tagged = await network.virtualNetworks.updateTags(group, "hub", { tags });
assert.equal(tagged.tags.team, "ml");
assert.equal(tagged.subnets.length, 1);
assert.deepEqual(await names(network.virtualNetworks.list(group)), ["hub", "spoke"]);
assert.deepEqual(await names(network.virtualNetworks.listAll()), ["hub", "spoke"]);
assert.deepEqual(await names(network.securityRules.list(group, "nsg")), ["in"]);
await refused(network.virtualNetworks.get(group, "none"), 404, "ResourceNotFound");
await refused(network.networkSecurityGroups.beginDeleteAndWait(group, "nsg", poll), 400, "InUseNetworkSecurityGroupCannotBeDeleted");
done("network");

// storage, with a private endpoint
const account = await storage.storageAccounts.beginCreateAndWait(group, "stnpmarm", { location, kind: "StorageV2", sku: { name: "Standard_LRS" } }, poll);
assert.equal(account.primaryEndpoints.blob, "https://stnpmarm.blob.core.windows.net/");
assert.equal((await storage.storageAccounts.update(group, "stnpmarm", { tags, allowBlobPublicAccess: false })).allowBlobPublicAccess, false);
assert.equal((await storage.storageAccounts.listKeys(group, "stnpmarm")).keys.length, 2);
await storage.blobContainers.create(group, "stnpmarm", "data", {});
assert.deepEqual(await names(storage.blobContainers.list(group, "stnpmarm")), ["data"]);
assert.deepEqual(await names(storage.storageAccounts.listByResourceGroup(group)), ["stnpmarm"]);
assert.deepEqual(await names(storage.storageAccounts.list()), ["stnpmarm"]);
const pe = await network.privateEndpoints.beginCreateOrUpdateAndWait(group, "pe", {
  location, subnet: { id: endpoints.id },
  privateLinkServiceConnections: [{ name: "blob", privateLinkServiceId: account.id, groupIds: ["blob"] }],
}, poll);
assert.equal(pe.privateLinkServiceConnections[0].privateLinkServiceConnectionState.status, "Approved");
await refused(network.subnets.beginDeleteAndWait(group, "hub", "endpoints", poll), 400, "InUseSubnetCannotBeDeleted");
done("storage");

// vault
const vault = { location, properties: { tenantId: process.env.AZURE_TENANT_ID, sku: { family: "A", name: "standard" }, enableRbacAuthorization: true } };
assert.equal((await vaults.beginCreateOrUpdateAndWait(group, "kv-npmarm", vault, poll)).properties.vaultUri, "https://kv-npmarm.vault.azure.net/");
assert.equal((await vaults.update(group, "kv-npmarm", { tags })).tags.team, "ml");
assert.deepEqual(await names(vaults.listByResourceGroup(group)), ["kv-npmarm"]);
await vaults.delete(group, "kv-npmarm");
assert.deepEqual(await names(vaults.listDeleted()), ["kv-npmarm"]);
await vaults.beginPurgeDeletedAndWait("kv-npmarm", location, poll);
assert.deepEqual(await names(vaults.listDeleted()), []);
done("vault");

// identity and access
const id = await identities.userAssignedIdentities.createOrUpdate(group, "id-npm", { location });
assert.ok(id.principalId && id.clientId);
assert.equal((await identities.userAssignedIdentities.update(group, "id-npm", { location, tags })).tags.team, "ml");
assert.deepEqual(await names(identities.userAssignedIdentities.listBySubscription()), ["id-npm"]);
await identities.federatedIdentityCredentials.createOrUpdate(group, "id-npm", "ci-npm", { issuer: "https://token.actions.githubusercontent.com", subject: "repo:a/b:ref:refs/heads/main", audiences: ["api://AzureADTokenExchange"] });
assert.deepEqual(await names(identities.federatedIdentityCredentials.list(group, "id-npm")), ["ci-npm"]);
const role = "9f6b1c1e-0000-4000-8000-0000000c0da1", assignment = "9f6b1c1e-0000-4000-8000-0000000c0da2";
const made = await access.roleDefinitions.createOrUpdate(groupId, role, {
  roleName: "npm operator", roleType: "CustomRole", assignableScopes: [groupId],
  permissions: [{ actions: ["Microsoft.MachineLearningServices/*"], notActions: ["Microsoft.MachineLearningServices/workspaces/delete"] }],
});
await access.roleAssignments.create(groupId, assignment, { roleDefinitionId: made.id, principalId: id.principalId, principalType: "ServicePrincipal" });
const mine = await names(access.roleAssignments.listForScope(groupId, { filter: `principalId eq '${id.principalId}'` }));
assert.deepEqual(mine, [assignment]);
await refused(access.roleDefinitions.delete(groupId, role), 400, "RoleDefinitionHasAssignments");
await access.roleAssignments.delete(groupId, assignment);
await access.roleDefinitions.delete(groupId, role);
done("identity and access");

// lock
await locks.createOrUpdateAtResourceGroupLevel(group, "keep", { level: "CanNotDelete" });
await refused(storage.storageAccounts.delete(group, "stnpmarm"), 409, "ScopeLocked");
await refused(resources.resourceGroups.beginDeleteAndWait(group, poll), 409, "ScopeLocked");
assert.deepEqual(await names(locks.listAtResourceGroupLevel(group)), ["keep"]);
await locks.deleteAtResourceGroupLevel(group, "keep");
done("lock");

const left = await names(resources.resources.listByResourceGroup(group));
assert.ok(left.includes("hub") && left.includes("stnpmarm"), left.join());
await resources.resourceGroups.beginDeleteAndWait(group, poll);
assert.deepEqual(await names(resources.resources.list()), []);
console.log("all done");
