package ml

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// commands makes the tasks of a job: one for each of its processes.
func (s *Service) commands(ctx context.Context, x *execution, item compute.Item, nodes []compute.Node, tasks []task) ([]compute.TaskSpec, error) {
	expiry := s.cfg.Clock.Now().Add(tokenLife)
	token, err := s.cfg.Tokens.Issue(item.ID, expiry)
	if err != nil {
		return nil, fmt.Errorf("issue the job's token: %w", err)
	}
	var msi []string
	if _, grant := x.identity(); grant != "" {
		err := s.cfg.Store.Update(ctx, func(tx store.Tx) (err error) {
			msi, err = s.cfg.Identities.Grant(tx, item.ID, grant)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("give the job the identity of its compute: %w", err)
		}
	}
	var hosts []string
	for _, n := range nodes {
		hosts = append(hosts, host(n))
	}
	var ports []int
	if x.spec.Distribution != "" {
		if ports, err = freePorts(hosts); err != nil {
			return nil, err
		}
	}
	shell := "sh"
	if lookPath(s.cfg.BaseEnv, "bash") != "" {
		shell = "bash"
	}
	specs := make([]compute.TaskSpec, len(tasks))
	for i, t := range tasks {
		command, err := x.spec.render(func(kind, name string) (string, bool) { return x.bind(t.Root, kind, name) })
		if err != nil {
			return nil, err
		}
		e, node := environ{}, s.cfg.NodeEnv(t.Node)
		if x.image == "" { // an image has its own
			e.add(s.cfg.BaseEnv)
		}
		e.add(node)
		e.addMap(x.spec.Env)
		if x.prepared != nil {
			e["PATH"] = x.prepared.Bin + string(filepath.ListSeparator) + e["PATH"]
			e.add(x.prepared.Vars)
		}
		e.addMap(x.environment(t, hosts, token, strconv.FormatInt(expiry.Unix(), 10)))
		e.addMap(x.ranks(t, len(tasks), hosts, ports))
		e.add(msi)
		specs[i] = compute.TaskSpec{
			TaskRef: compute.TaskRef{NodeID: t.Node},
			Argv:    []string{shell, "-c", command}, Env: e.list(), Dir: filepath.Join(t.Root, dirWork), LogPath: t.Log,
		}
		if x.image != "" {
			specs[i].Argv, specs[i].Image, specs[i].Mounts = []string{"sh", "-c", bestShell, command}, x.image, mounts(t.Root, node)
		}
	}
	if p := s.mpirun(x); p != "" {
		one, err := mpiTask(p, specs, tasks)
		return []compute.TaskSpec{one}, err
	}
	return specs, nil
}

// bestShell runs its first argument with bash where an image has it.
const bestShell = `if command -v bash >/dev/null 2>&1; then exec bash -c "$0"; fi; exec sh -c "$0"`

// mounts is what a container has of the node: the job's directory, and the files that
// the node's environment names, such as the CA bundle.
func mounts(root string, env []string) []compute.Mount {
	out := []compute.Mount{{Path: root}}
	for _, kv := range env {
		_, value, _ := strings.Cut(kv, "=")
		for _, path := range append(strings.Fields(value), value) {
			path = path[strings.LastIndex(path, "=")+1:] // as in Java's options
			if !filepath.IsAbs(path) || slices.Contains(out, compute.Mount{Path: path, ReadOnly: true}) {
				continue
			}
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				out = append(out, compute.Mount{Path: path, ReadOnly: true})
			}
		}
	}
	return out
}

func host(n compute.Node) string {
	if n.Info.Host == "" {
		return "127.0.0.1"
	}
	return n.Info.Host
}

// bind is the text for an expression in the command.
func (x *execution) bind(root, kind, name string) (string, bool) {
	switch kind {
	case "inputs":
		in, ok := x.spec.Inputs[name]
		switch {
		case !ok:
			return "", false
		case in.Type == "literal":
			return in.Value, true
		}
		return x.inputPath(root, name), true
	case "outputs":
		out, ok := x.spec.Outputs[name]
		switch {
		case !ok:
			return "", false
		case out.Mode == "Direct":
			return out.URI, true
		}
		return outputPath(root, name), true
	}
	return "", false
}

// environment is what Azure ML sets for every process of a job.
//
// MLFLOW_TRACKING_URI is https here, where Azure has azureml://: that scheme
// needs the azureml-mlflow plugin, which a job that runs with the machine's own
// Python may lack, while plain MLflow and anything that speaks its REST API
// understand https. It leads to the same place.
func (x *execution) environment(t task, hosts []string, token, expiry string) map[string]string {
	ws, r := x.ws, x.run
	service := "https://" + ws.host()
	work := filepath.Join(t.Root, dirWork)
	return map[string]string{
		"HOME": filepath.Join(t.Root, dirHome), "TMPDIR": filepath.Join(t.Root, dirTemp), "PYTHONUNBUFFERED": "1",
		"AZUREML_RUN_ID": r.Name, "AZUREML_RUN_TOKEN": token, "AZUREML_RUN_TOKEN_EXPIRY": expiry,
		"AZUREML_ROOT_RUN_ID": r.root(),
		// Azimuth's own; a variable of Azure's that counts attempts is not known
		"AZIMUTH_ATTEMPT":          strconv.Itoa(r.Attempt),
		"AZUREML_ARM_SUBSCRIPTION": ws.id.Subscription, "AZUREML_ARM_RESOURCEGROUP": ws.id.ResourceGroup,
		"AZUREML_ARM_WORKSPACE_NAME": ws.id.Name(), "AZUREML_ARM_PROJECT_NAME": x.job.Body.String("properties.experimentName"),
		"AZUREML_EXPERIMENT_ID": r.Experiment, "AZUREML_EXPERIMENT_SCOPE": ws.path() + "/experiments/" + x.job.Body.String("properties.experimentName"),
		"AZUREML_WORKSPACE_ID": ws.GUID, "AZUREML_WORKSPACE_SCOPE": ws.path(),
		"AZUREML_SERVICE_ENDPOINT": service, "AZUREML_DISCOVERY_SERVICE_ENDPOINT": service + "/discovery",
		"AZ_BATCHAI_JOB_WORK_DIR": work, "AZUREML_CR_NODE_RANK": strconv.Itoa(t.NodeRank), "AZ_BATCH_HOST_LIST": strings.Join(hosts, ","),
		"MLFLOW_TRACKING_URI": ws.trackingURL(), "MLFLOW_TRACKING_TOKEN": token, "MLFLOW_RUN_ID": r.Name,
		"MLFLOW_EXPERIMENT_ID": r.Experiment, "MLFLOW_EXPERIMENT_NAME": x.job.Body.String("properties.experimentName"),
	}
}

// ranks is what a process of a distributed job is told about the others.
func (x *execution) ranks(t task, count int, hosts []string, ports []int) map[string]string {
	switch x.spec.Distribution {
	case "PyTorch":
		return map[string]string{
			"MASTER_ADDR": hosts[0], "MASTER_PORT": strconv.Itoa(ports[0]), "WORLD_SIZE": strconv.Itoa(count),
			"NODE_RANK": strconv.Itoa(t.NodeRank), "RANK": strconv.Itoa(t.Rank), "LOCAL_RANK": strconv.Itoa(t.Rank % x.spec.Processes),
		}
	case "Mpi":
		return map[string]string{
			"OMPI_COMM_WORLD_RANK": strconv.Itoa(t.Rank), "OMPI_COMM_WORLD_SIZE": strconv.Itoa(count),
			"OMPI_COMM_WORLD_LOCAL_RANK": strconv.Itoa(t.Rank % x.spec.Processes), "OMPI_COMM_WORLD_LOCAL_SIZE": strconv.Itoa(x.spec.Processes),
			"AZ_BATCHAI_MPI_MASTER_NODE": hosts[0],
		}
	case "TensorFlow":
		cluster := map[string][]string{}
		for i := range hosts {
			kind, _ := x.tfTask(i)
			cluster[kind] = append(cluster[kind], net.JoinHostPort(hosts[i], strconv.Itoa(ports[i])))
		}
		kind, index := x.tfTask(t.NodeRank)
		b, err := json.Marshal(map[string]any{
			"cluster": cluster, "task": map[string]any{"type": kind, "index": index}, "environment": "cloud",
		})
		if err != nil { // strings and numbers only
			return nil
		}
		return map[string]string{"TF_CONFIG": string(b)}
	}
	return nil
}

// tfTask is what TensorFlow's role of a node is: workers first.
func (x *execution) tfTask(node int) (kind string, index int) {
	if node < x.spec.Workers {
		return "worker", node
	}
	return "ps", node - x.spec.Workers
}

// freePorts finds a port on each host that nobody listens on now.
func freePorts(hosts []string) ([]int, error) {
	var ports []int
	for _, h := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(h, "0"))
		if err != nil {
			return nil, fmt.Errorf("find a port on %s: %w", h, err)
		}
		defer l.Close() // held until all are found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// environ collects environment variables; later ones win.
type environ map[string]string

func (e environ) add(list []string) {
	for _, kv := range list {
		if k, v, ok := strings.Cut(kv, "="); ok {
			e[k] = v
		}
	}
}

func (e environ) addMap(m map[string]string) { maps.Copy(e, m) }

func (e environ) list() []string {
	out := make([]string, 0, len(e))
	for _, k := range slices.Sorted(maps.Keys(e)) {
		out = append(out, k+"="+e[k])
	}
	return out
}
