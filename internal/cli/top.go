package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// topJobs is how many of the newest jobs top looks at for those that have not
// ended. The totals come from the server and are exact.
const topJobs = 200

// topView is what top shows.
type topView struct {
	Now         time.Time `json:"now"`
	JobsWaiting int       `json:"jobsWaiting"`
	JobsRunning int       `json:"jobsRunning"`
	Clusters    []arm.Doc `json:"clusters"`
	Nodes       []topNode `json:"nodes"`
	Queue       []topJob  `json:"queue"`
}

type topNode struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	State   string `json:"state"`
	Address string `json:"address"`
	Job     string `json:"job"`
}

type topJob struct {
	Job     string `json:"job"`
	Cluster string `json:"cluster"`
	Status  string `json:"status"`
	Nodes   int    `json:"nodes"`
	Since   string `json:"since"`
	Reason  string `json:"reason"`
}

func (a *app) topCommand() *cobra.Command {
	var f mlFlags
	var once bool
	var every time.Duration
	cmd := &cobra.Command{
		Use: "top", Short: "Show clusters, nodes and the queue as they change", Args: noArgs,
		Long: `Show clusters, nodes and the jobs that wait and run, again every second until
Ctrl-C. It is shown once where the output is no terminal, or with --output or --once.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every <= 0 {
				return usagef("--interval is longer than nothing, not %s", every)
			}
			ctx := cmd.Context()
			s, err := a.connect(ctx)
			if err != nil {
				return err
			}
			defer s.close()
			if once || a.output != "" || !isScreen(a.stdout) {
				v, err := s.top(ctx, &f)
				if err != nil {
					return err
				}
				if a.output == "json" {
					return a.print("json", v, nil)
				}
				return v.write(a.stdout)
			}
			return a.live(ctx, s, &f, every)
		},
	}
	cmd.Flags().StringVarP(&f.group, "resource-group", "g", "", "resource group (default: all)")
	cmd.Flags().StringVarP(&f.workspace, "workspace-name", "w", "", "workspace (default: all)")
	cmd.Flags().BoolVar(&once, "once", false, "show it once")
	cmd.Flags().DurationVar(&every, "interval", time.Second, "time between two looks")
	return cmd
}

// isScreen reports whether w is a terminal, whatever is said about colours.
func isScreen(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// live draws over what it drew, until the context ends: that is how it is left.
func (a *app) live(ctx context.Context, s *session, f *mlFlags, every time.Duration) error {
	const home, clearLine, clearRest = "\x1b[H", "\x1b[K", "\x1b[J"
	fmt.Fprint(a.stdout, home, clearRest)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		v, err := s.top(ctx, f)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		var b bytes.Buffer
		if err := v.write(&b); err != nil {
			return err
		}
		text := bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte(clearLine+"\r\n"))
		if _, err := fmt.Fprintf(a.stdout, "%s%s%s", home, text, clearRest); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// top reads what is to be shown.
func (s *session) top(ctx context.Context, f *mlFlags) (*topView, error) {
	var st server.Status
	if err := s.admin(ctx, http.MethodGet, "/v1/status", nil, &st); err != nil {
		return nil, err
	}
	v := &topView{Now: st.Now, JobsWaiting: st.JobsWaiting, JobsRunning: st.JobsRunning, Clusters: []arm.Doc{}, Nodes: []topNode{}, Queue: []topJob{}}
	all, err := s.workspaces(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, ws := range all {
		if err := s.topOf(ctx, ws, v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (s *session) topOf(ctx context.Context, ws arm.Doc, v *topView) error {
	for c, err := range client.List[arm.Doc](ctx, s.client, ws.String("id")+"/computes", mlAPI) {
		if err != nil {
			return err
		}
		v.Clusters = append(v.Clusters, c)
		if c.String("properties.computeType") != typeCluster || c.Int("properties.properties.currentNodeCount", 0) == 0 {
			continue
		}
		var answer struct{ Nodes []arm.Doc }
		if err := s.client.Do(ctx, http.MethodPost, computePath(ws, c.String("name"))+"/listNodes", mlAPI, nil, &answer); err != nil {
			if client.IsNotFound(err) {
				continue // it was deleted a moment ago
			}
			return err
		}
		for _, n := range answer.Nodes {
			v.Nodes = append(v.Nodes, topNode{c.String("name"), n.String("nodeId"), n.String("nodeState"), n.String("privateIpAddress"), n.String("runId")})
		}
	}
	var answer struct{ Pools []server.ServerlessPool }
	if err := s.admin(ctx, http.MethodGet, "/v1/compute/serverless?workspace="+url.QueryEscape(ws.String("id")), nil, &answer); err != nil {
		return err
	}
	for _, p := range answer.Pools {
		v.Clusters = append(v.Clusters, serverlessDoc(p))
		for _, n := range p.Nodes {
			v.Nodes = append(v.Nodes, topNode{nameServerless, n.Node, n.State, n.Address, lastSegment(n.Job)})
		}
	}
	q := url.Values{"$top": {strconv.Itoa(topJobs)}, "listViewType": {"All"}}
	jobs, err := collect(ctx, s, ws.String("id")+"/jobs?"+q.Encode(), topJobs)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if status := j.String("properties.status"); !terminal(status) {
			v.Queue = append(v.Queue, topJob{
				j.String("name"), jobCompute(j), status, j.Int("properties.resources.instanceCount", 1),
				created(j), j.String("properties.queueingInfo.message"),
			})
		}
	}
	return nil
}

// nameServerless is what serverless compute is called where a cluster has its name.
const nameServerless = "serverless"

// serverlessDoc is serverless compute in the shape of a cluster's document.
func serverlessDoc(p server.ServerlessPool) arm.Doc {
	count := map[string]int{}
	for _, n := range p.Nodes {
		count[n.State]++
	}
	state := "Steady"
	if p.Resizing {
		state = "Resizing"
	}
	return arm.Doc{"name": nameServerless, "properties": map[string]any{"computeType": typeCluster, "properties": map[string]any{
		"vmSize": p.VMSize, "vmPriority": p.Priority, "allocationState": state, "currentNodeCount": len(p.Nodes),
		"nodeStateCounts": map[string]any{"idleNodeCount": count["idle"], "runningNodeCount": count["running"]},
		"scaleSettings":   map[string]any{"minNodeCount": 0, "maxNodeCount": p.Max},
	}}}
}

// write prints the view as three tables.
func (v *topView) write(w io.Writer) error {
	fmt.Fprintf(w, "%s   %s waiting, %d running\n\n", v.Now.Format(time.DateTime), plural(v.JobsWaiting, "job", "jobs"), v.JobsRunning)
	if err := computeTable(v.Clusters).write(w); err != nil {
		return err
	}
	if len(v.Nodes) > 0 {
		t := &table{header: []string{"node", "cluster", "state", "address", "job"}}
		for _, n := range v.Nodes {
			t.add(n.Node, n.Cluster, n.State, n.Address, n.Job)
		}
		fmt.Fprintln(w)
		if err := t.write(w); err != nil {
			return err
		}
	}
	if len(v.Queue) == 0 {
		return nil
	}
	t := &table{header: []string{"job", "cluster", "status", "nodes", "created", "why it waits"}}
	for _, j := range v.Queue {
		t.add(j.Job, j.Cluster, j.Status, strconv.Itoa(j.Nodes), j.Since, j.Reason)
	}
	fmt.Fprintln(w)
	if err := t.write(w); err != nil {
		return err
	}
	if more := v.JobsWaiting + v.JobsRunning - len(v.Queue); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	return nil
}
