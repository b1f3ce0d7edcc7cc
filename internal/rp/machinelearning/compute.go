package machinelearning

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	typeCluster  = "AmlCompute"
	typeInstance = "ComputeInstance"
)

// compute describes clusters and instances, which Azure keeps in one type and
// tells apart by properties.computeType.
func (p *provider) compute() *arm.ResourceType {
	return &arm.ResourceType{
		Type:       ComputeType,
		SystemData: true,
		Identity:   []string{"SystemAssigned", "UserAssigned"},
		// the documents estimate five minutes for either kind
		Latency:        arm.Latency{Create: 5 * time.Minute, Delete: 2 * time.Minute},
		LongRunningPut: true,
		Unimplemented: map[string]string{
			"properties.properties.userAccountCredentials": "lets people sign in to nodes over SSH",
			"properties.properties.virtualMachineImage":    "boots nodes from an image of yours",
			"properties.properties.isolatedNetwork":        "places nodes in a network of the service's",
			"properties.properties.osType=Windows":         "runs Windows",
			"properties.properties.setupScripts":           "runs scripts on the instance",
			"properties.properties.customServices":         "runs containers on the instance",
			"properties.properties.autologgerSettings":     "logs to MLflow by itself",
		},
		Index: func(r *arm.Resource) []string {
			location := arm.NormalizeLocation(r.Body.String("location"))
			out := []string{"location|" + location}
			if id := r.Body.String("properties.properties.subnet.id"); id != "" {
				out = append(out, SubnetIndex(id))
			}
			if r.Body.String("properties.computeType") == typeInstance {
				out = append(out, instanceIndex(location, r.Name()))
			}
			return out
		},
		Validate: p.validateCompute,
		Put:      p.putCompute,
		Read:     p.readCompute,
		Delete:   p.deleteCompute,
		Actions: []arm.Action{
			{Name: "listNodes", Permission: ComputeType + "/listNodes/action", Handle: p.listNodes},
			p.instanceAction("start", "Start"), p.instanceAction("stop", "Stop"), p.instanceAction("restart", "Restart"),
			{Name: "updateIdleShutdownSetting", Permission: ComputeType + "/updateIdleShutdownSetting/action", Handle: p.updateIdleShutdown},
		},
	}
}

func kindOf(r *arm.Resource) string { return r.Body.String("properties.computeType") }

// invalid is a 400 about one property of a compute. The exact words of Azure ML
// for what is wrong with a compute are not known.
func invalid(path, format string, args ...any) *arm.Error {
	e := arm.BadRequest("BadRequest", format, args...)
	e.Target = path
	return e
}

func (p *provider) validateCompute(ctx context.Context, put *arm.Put) error {
	body := put.Resource.Body
	put.Keep("properties.computeType", "properties.description", "properties.disableLocalAuth", "sku", "properties.properties")
	kind := body.String("properties.computeType")
	switch {
	case strings.EqualFold(kind, typeCluster):
		kind = typeCluster
	case strings.EqualFold(kind, typeInstance):
		kind = typeInstance
	case kind == "":
		return invalid("properties.computeType", "The property 'computeType' is missing.")
	default:
		return refuseAttached(put, kind)
	}
	body.Set("properties.computeType", kind)
	if id := body.String("properties.resourceId"); id != "" {
		return invalid("properties.resourceId", "A compute of type %s stands for no resource, and not for '%s'.", kind, id)
	}
	if e := put.Existing; e != nil && kindOf(e) != kind {
		return invalid("properties.computeType", "Compute '%s' is of type %s, which cannot be changed to %s.", put.ID.Name(), kindOf(e), kind)
	}
	if err := checkName(put.ID.Name(), kind); err != nil {
		return err
	}
	if err := p.checkLocation(put, kind); err != nil {
		return err
	}
	if _, err := p.size(put); err != nil {
		return err
	}
	identity := body.String("identity.type")
	if strings.Contains(identity, "SystemAssigned") && strings.Contains(identity, "UserAssigned") {
		return invalid("identity.type", "A compute has a system-assigned identity or user-assigned ones, not both.")
	}
	if err := p.checkSubnet(ctx, put); err != nil {
		return err
	}
	if err := unchanged(put, "vmSize", "vmPriority", "subnet.id", "osType", "enableNodePublicIp", "computeInstanceAuthorizationType", "sshSettings.sshPublicAccess"); err != nil {
		return err
	}
	if kind == typeCluster {
		return validateCluster(put)
	}
	return p.validateInstance(put)
}

// unchanged refuses to change what is fixed once a compute is made.
func unchanged(put *arm.Put, names ...string) error {
	for _, name := range names {
		if err := put.Immutable("properties.properties." + name); err != nil {
			return invalid("properties.properties."+name, "The property '%s' of compute '%s' cannot be changed after creation.", name, put.ID.Name())
		}
	}
	return nil
}

// checkName applies the rule for names of computes. The studio also wants a letter
// behind each '-'; whether the service does is not known, so that part is a finding
// (compute-name) and not a refusal.
func checkName(name, kind string) error {
	most := 32
	if kind == typeInstance {
		most = 24
	}
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	ok := len(name) >= 3 && len(name) <= most && isLetter(name[0]) && name[len(name)-1] != '-'
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != '-' && !isLetter(c) && !digit(c) {
			ok = false
		}
	}
	if !ok {
		return invalid("name", "The compute name '%s' is invalid. A name has 3 to %d letters, digits and '-', begins with a letter, and ends with a letter or digit.", name, most)
	}
	return nil
}

func (p *provider) checkLocation(put *arm.Put, kind string) error {
	body := put.Resource.Body
	home := arm.NormalizeLocation(put.Parent.Body.String("location"))
	loc := arm.NormalizeLocation(body.String("location"))
	if loc == "" {
		loc = arm.NormalizeLocation(body.String("properties.computeLocation"))
	}
	if put.Existing != nil {
		was := arm.NormalizeLocation(put.Existing.Body.String("location"))
		if loc != "" && loc != was {
			return invalid("location", "Compute '%s' is in location '%s' and cannot be moved to '%s'.", put.ID.Name(), was, loc)
		}
		loc = was
	}
	if loc == "" {
		loc = home
	}
	if kind == typeInstance && loc != home {
		return invalid("location", "A compute instance is in the region of its workspace, '%s', not in '%s'.", home, loc)
	}
	known := false
	for _, l := range arm.Locations() {
		known = known || l == loc
	}
	if !known {
		return invalid("location", "The location '%s' is not known.", loc)
	}
	body["location"] = loc
	body.Set("properties.computeLocation", loc)
	return nil
}

// size is the VM size that a compute asks for.
func (p *provider) size(put *arm.Put) (catalog.VMSize, error) {
	name := put.Resource.Body.String("properties.properties.vmSize")
	if name == "" {
		return catalog.VMSize{}, invalid("properties.properties.vmSize", "The property 'vmSize' is missing.")
	}
	size, ok := p.Catalog.VMSize(name)
	if !ok {
		// the code is that of Azure Batch; Azure ML's own words are not known
		e := arm.BadRequest("VMSizeNotSupported", "The VM size '%s' is not one that Azure Machine Learning offers.", name)
		e.Target = "properties.properties.vmSize"
		return catalog.VMSize{}, e
	}
	return size, nil
}

func (p *provider) checkSubnet(ctx context.Context, put *arm.Put) error {
	const path = "properties.properties.subnet.id"
	body := put.Resource.Body
	id := body.String(path)
	managed := IsolationMode(put.Parent) != IsolationDisabled
	if id != "" && managed && put.Creating() {
		return validationError(path, "The computes of workspace '%s' stand in its managed network, and cannot stand in the subnet '%s'.", put.Parent.Name(), id)
	}
	if id == "" {
		body.Delete("properties.properties.subnet")
		if !managed && !body.Bool("properties.properties.enableNodePublicIp", true) {
			return invalid("properties.properties.enableNodePublicIp", "A compute without public IP addresses needs a subnet.")
		}
		return nil
	}
	if put.Existing != nil && strings.EqualFold(put.Existing.Body.String(path), id) {
		return nil
	}
	parsed, err := p.usableSubnet(ctx, put, path, id, body.String("location"))
	if err != nil {
		return err
	}
	return put.AllowedLinked(ctx, "Microsoft.Network/virtualNetworks/subnets/join/action", parsed)
}

// usableSubnet checks that nodes in a region can stand in a subnet, which is named at
// path in the body.
func (p *provider) usableSubnet(ctx context.Context, put *arm.Put, path, id, region string) (arm.ID, error) {
	parsed, err := arm.ParseID(id)
	if err != nil || !strings.EqualFold(parsed.Type(), "Microsoft.Network/virtualNetworks/subnets") {
		return parsed, invalid(path, "'%s' is not the ID of a subnet.", id)
	}
	if !strings.EqualFold(parsed.Subscription, put.ID.Subscription) {
		return parsed, invalid(path, "The subnet '%s' is not in the subscription of the workspace.", id)
	}
	subnet, err := p.kernel.Load(ctx, put.Tx, parsed)
	if err != nil {
		return parsed, err
	}
	network, err := p.kernel.Load(ctx, put.Tx, parsed.Parent())
	if err != nil {
		return parsed, err
	}
	if len(subnet.Body.List("properties.delegations")) > 0 {
		return parsed, invalid(path, "The subnet '%s' is delegated to another service.", id)
	}
	if at := arm.NormalizeLocation(network.Body.String("location")); at != region {
		return parsed, invalid(path, "The subnet '%s' is in region '%s', the compute in '%s'.", id, at, region)
	}
	return parsed, nil
}

func (p *provider) putCompute(_ context.Context, put *arm.Put) error {
	if err := p.firstCompute(put); err != nil {
		return err
	}
	body := put.Resource.Body
	put.Force("properties.createdOn")
	now := put.Now.UTC().Format("2006-01-02T15:04:05.0000000-07:00")
	body.Default("properties.createdOn", now)
	body.Set("properties.modifiedOn", now)
	body.Default("properties.description", "")
	body.Default("properties.disableLocalAuth", false)
	body.Set("properties.isAttachedCompute", false)
	body.Set("properties.resourceId", nil)
	body.Set("properties.provisioningErrors", nil)
	body.Default("properties.properties.enableNodePublicIp", true)
	if kindOf(put.Resource) == typeCluster {
		return p.putCluster(put)
	}
	return p.putInstance(put)
}

func (p *provider) readCompute(_ context.Context, tx store.Tx, r *arm.Resource) error {
	if kindOf(r) == typeCluster {
		return p.readCluster(tx, r)
	}
	return p.readInstance(tx, r)
}

func (p *provider) deleteCompute(_ context.Context, d *arm.Delete) error {
	if !d.Cascade && strings.EqualFold(d.Query.Get("underlyingresourceaction"), "Detach") {
		return invalid("underlyingResourceAction", "Compute '%s' was made by the service: it can be deleted, not detached.", d.Resource.Name())
	}
	if kindOf(d.Resource) == typeCluster {
		return p.Pools.DeletePool(d.Tx, arm.Key(d.Resource.ID))
	}
	return p.Instances.DeleteInstance(d.Tx, d.Resource.UID)
}

func (p *provider) listNodes(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	nodes := []any{}
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		if kindOf(r) != typeCluster {
			return invalid("", "Compute '%s' is of type %s and has no list of nodes.", r.Name(), kindOf(r))
		}
		list, err := p.Pools.PoolNodes(tx, arm.Key(r.ID))
		if err != nil {
			return err
		}
		for _, n := range list {
			doc := map[string]any{"nodeId": n.ID, "nodeState": n.State, "port": n.Port, "privateIpAddress": nil, "publicIpAddress": nil, "runId": nil}
			for name, v := range map[string]string{"privateIpAddress": n.PrivateIP, "publicIpAddress": n.PublicIP, "runId": n.Job[strings.LastIndexByte(n.Job, '/')+1:]} {
				if v != "" {
					doc[name] = v
				}
			}
			nodes = append(nodes, doc)
		}
		return nil
	})
	return &arm.Response{Status: http.StatusOK, Body: map[string]any{"nodes": nodes}}, err
}

// poolError turns the engine's refusal of a pool into a 400.
func poolError(err error) error {
	if err == nil || errors.As(err, new(*arm.Error)) {
		return err
	}
	return fmt.Errorf("put pool: %w", err)
}
