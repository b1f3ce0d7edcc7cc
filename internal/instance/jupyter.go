package instance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Jupyter is an installed Jupyter.
type Jupyter struct {
	// Name is "JupyterLab" or "Jupyter".
	Name string
	// Argv starts its server.
	Argv []string
}

// ErrNoJupyter says that no Jupyter is installed.
var ErrNoJupyter = errors.New("neither JupyterLab nor Jupyter Notebook is installed")

// howToInstall is what the resource's errors say about ErrNoJupyter.
const howToInstall = "Install one where the server finds it in PATH (`pip install jupyterlab`, or on Debian `apt-get install jupyter-notebook`), then restart the instance."

// FindJupyter looks in the PATH of env for JupyterLab, then for Jupyter
// Notebook. Its error is ErrNoJupyter when there is none.
func FindJupyter(env []string) (Jupyter, error) {
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, j := range []Jupyter{{"JupyterLab", []string{"jupyter-lab"}}, {"Jupyter", []string{"jupyter-notebook"}}} {
		for _, dir := range filepath.SplitList(path) {
			if !filepath.IsAbs(dir) {
				continue
			}
			// a path with a slash is not looked up, only checked
			if file, err := exec.LookPath(filepath.Join(dir, j.Argv[0])); err == nil {
				j.Argv[0] = file
				return j, nil
			}
		}
	}
	return Jupyter{}, ErrNoJupyter
}

// launch starts Jupyter.
func (s *Service) launch(ctx context.Context, r *record) (outcome, error) {
	jupyter, err := s.cfg.Jupyter()
	if err != nil {
		message := err.Error()
		if errors.Is(err, ErrNoJupyter) {
			message = "Jupyter does not run: " + message + ". " + howToInstall
		}
		return outcome{again: true}, s.update(ctx, r, func(now *record) error {
			now.Missing, now.Problem = true, &Problem{"JupyterNotInstalled", message}
			return nil
		})
	}
	spec, task, err := s.prepare(ctx, r, jupyter)
	if err == nil && spec == nil {
		return outcome{again: true}, nil // something else was asked for
	}
	if err == nil {
		err = s.cfg.Runner.StartTask(ctx, *spec)
	}
	if err != nil {
		if ctx.Err() != nil {
			return outcome{}, ctx.Err()
		}
		s.log.Warn("cannot start Jupyter on a compute instance", logInstance, r.Spec.ID, logError, err)
		seen := r
		if task != nil {
			seen = task
		}
		return outcome{again: true}, s.update(ctx, seen, func(now *record) error {
			s.setFailure(now, "JupyterNotStarted", "Jupyter could not be started: "+err.Error()+".")
			return nil
		})
	}
	s.mu.Lock()
	if s.facts.tasks[spec.NodeID][spec.ID] == nil { // its report is on the way
		s.facts.setTask(compute.TaskReport{TaskRef: spec.TaskRef})
	}
	s.mu.Unlock()
	return outcome{again: true}, nil
}

// prepare decides on a task, durably, and writes what it needs. It returns the
// record as it then is; both are nil if the record had changed.
func (s *Service) prepare(ctx context.Context, r *record, jupyter Jupyter) (*compute.TaskSpec, *record, error) {
	root, err := s.cfg.Files.UserDir(ctx, r.Spec.WorkspaceID, r.Spec.UserID)
	if err != nil {
		return nil, nil, fmt.Errorf("open the workspace's file store: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	secret := newSecret()
	sealed, err := s.cfg.Sealer.Seal([]byte(secret))
	if err != nil {
		return nil, nil, fmt.Errorf("seal the token: %w", err)
	}
	var identity []string
	var task *record
	err = s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		identity, task = nil, nil
		return s.updateIn(tx, r, func(now *record) (err error) {
			if now.Spec.PrincipalID != "" {
				if identity, err = s.cfg.Identities.Grant(tx, grantID(now.Spec.UID), now.Spec.PrincipalID); err != nil {
					return fmt.Errorf("give the instance its identity: %w", err)
				}
			}
			now.Launch++
			now.Task = nodeID(now.Spec.UID) + "-" + strconv.Itoa(now.Launch)
			now.Port, now.Token, now.App, now.Origin = port, sealed, jupyter.Name, s.cfg.Origin
			now.Launched = s.cfg.Clock.Now()
			if now.Failures == 0 {
				now.Problem = nil
			}
			task = now
			return nil
		})
	})
	if err != nil || task == nil {
		return nil, nil, err
	}
	disk := s.disk(r.Spec.UID)
	dirs := map[string]string{
		"HOME": filepath.Join(disk, "home"), "JUPYTER_CONFIG_DIR": filepath.Join(disk, "config"),
		"JUPYTER_RUNTIME_DIR": filepath.Join(disk, "runtime"), "TMPDIR": filepath.Join(disk, "tmp"),
	}
	env := append(append(append([]string{}, s.cfg.BaseEnv...), s.cfg.NodeEnv(r.Spec.ID)...), identity...)
	for name, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, task, err
		}
		env = append(env, name+"="+dir)
	}
	if err := writeConfig(dirs["JUPYTER_CONFIG_DIR"], port, secret, basePath(r.Spec.UID), root); err != nil {
		return nil, task, fmt.Errorf("configure Jupyter: %w", err)
	}
	log := s.logPath(r.Spec.UID)
	if err := os.Rename(log, log+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, task, err
	}
	return &compute.TaskSpec{
		TaskRef: compute.TaskRef{ID: task.Task, ItemID: r.Spec.ID, Attempt: task.Launch, Count: 1, NodeID: nodeID(r.Spec.UID)},
		Argv:    jupyter.Argv, Env: env, Dir: root, LogPath: log, Grace: grace,
	}, task, nil
}

// writeConfig writes the configuration under the names that Jupyter Notebook up
// to 6 and the Jupyter Server that everything newer stands on read. The token is
// here and not in the environment or the command line: kernels inherit the
// former, and everybody can read the latter.
func writeConfig(dir string, port int, token, base, root string) error {
	settings := func(more map[string]any) map[string]any {
		out := map[string]any{
			"ip": "127.0.0.1", "port": port, "port_retries": 0, "open_browser": false, "base_url": base,
			"token": token, "password": "", "allow_remote_access": true, "allow_root": true, "quit_button": false,
			"allow_password_change": false,
		}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	for name, doc := range map[string]any{
		"jupyter_notebook_config.json": map[string]any{"NotebookApp": settings(map[string]any{"notebook_dir": root})},
		"jupyter_server_config.json":   map[string]any{"ServerApp": settings(map[string]any{"root_dir": root})},
	} {
		b, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", b, 0o600); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}

// freePort is a port of the loopback that nothing listens on now. Should
// somebody be quicker, Jupyter ends and is started again with another.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// upstream is where a running Jupyter is, and its token.
type upstream struct {
	uid, task string
	base      string // http://127.0.0.1:port
	token     string
}

func (s *Service) upstream(r *record) (upstream, error) {
	token, err := s.cfg.Sealer.Open(r.Token)
	if err != nil {
		return upstream{}, fmt.Errorf("open the token of instance %s: %w", r.Spec.ID, err)
	}
	return upstream{uid: r.Spec.UID, task: r.Task, base: "http://127.0.0.1:" + strconv.Itoa(r.Port), token: string(token)}, nil
}

const maxStatus = 1 << 20

// ask makes one request of Jupyter's API that does not count as activity.
func (u upstream) ask(ctx context.Context, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.base+basePath(u.uid)+path+"?no_track_activity=1", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "token "+u.token)
	client := http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("Jupyter answered %s to %s", resp.Status, path)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(out)
}

// use is when Jupyter was last used, and whether a kernel computes now.
func (u upstream) use(ctx context.Context) (last time.Time, busy bool, err error) {
	var status struct {
		LastActivity time.Time `json:"last_activity"`
	}
	if err := u.ask(ctx, "api/status", &status); err != nil {
		return time.Time{}, false, err
	}
	var kernels []struct {
		State        string    `json:"execution_state"`
		LastActivity time.Time `json:"last_activity"`
	}
	if err := u.ask(ctx, "api/kernels", &kernels); err != nil {
		return time.Time{}, false, err
	}
	last = status.LastActivity
	for _, k := range kernels {
		busy = busy || k.State == "busy"
		if k.LastActivity.After(last) {
			last = k.LastActivity
		}
	}
	return last, busy, nil
}

// errNotReady says that Jupyter did not come up in time.
var errNotReady = errors.New("Jupyter is not ready")

const (
	readyWithin = 30 * time.Second
	readyEvery  = 50 * time.Millisecond
)

// awaitReady waits until the Jupyter that was started answers.
func (s *Service) awaitReady(ctx context.Context, u upstream) error {
	s.mu.Lock()
	ready := s.ready[u.task]
	s.mu.Unlock()
	if ready {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		var status struct{}
		if err := u.ask(ctx, "api/status", &status); err == nil {
			s.mu.Lock()
			s.ready[u.task] = true
			s.mu.Unlock()
			return nil
		}
		s.mu.Lock()
		t := s.facts.tasks[nodeID(u.uid)][u.task]
		gone := t == nil || t.Ended
		s.mu.Unlock()
		if gone {
			return errNotReady
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errNotReady
		}
	}
}
