package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clientenv"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/local"
	"github.com/azimuth-ml/azimuth/internal/home"
)

// jobBaseEnv is what a job gets of the server's own environment: where programs
// are and which language they speak, and nothing that could be a secret.
func jobBaseEnv() []string {
	var out []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "PATH", name == "LANG", name == "TZ", name == "LD_LIBRARY_PATH", name == "CUDA_HOME",
			name == "PYENV_ROOT", name == "PYENV_VERSION", strings.HasPrefix(name, "LC_"):
			out = append(out, kv)
		}
	}
	return out
}

// packageEnv is what package managers get of the server's environment: where
// they are, how they are set up and how they reach the network.
func packageEnv() []string {
	out := jobBaseEnv()
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch upper := strings.ToUpper(name); {
		case name == "HOME", name == "TMPDIR", name == "SSL_CERT_FILE", name == "REQUESTS_CA_BUNDLE", strings.HasSuffix(upper, "_PROXY"),
			strings.HasPrefix(name, "PIP_"), strings.HasPrefix(name, "CONDA_"), strings.HasPrefix(name, "MAMBA_"), strings.HasPrefix(name, "UV_"):
			out = append(out, kv)
		}
	}
	return out
}

// nodeEnv is what leads Azure's names to this server from inside a job: proxy, with
// the credential that says where it comes from, and CA bundle, and none of the owner's
// credentials.
func (s *Server) nodeEnv(user string) []string {
	env := s.sharedEnv()
	plain := "http://" + s.listener.Addr().String()
	proxy := (&url.URL{Scheme: "http", User: s.networks.credential(user), Host: s.listener.Addr().String()}).String()
	out := make([]string, len(env))
	for i, kv := range env {
		if name, value, _ := strings.Cut(kv, "="); value == plain {
			kv = name + "=" + proxy
		}
		out[i] = kv
	}
	return out
}

// sharedEnv is what all nodes have.
func (s *Server) sharedEnv() []string {
	s.trustOnce.Do(func() {
		env, err := clientenv.Prepare(clientenv.Config{
			Dir: s.cfg.Home.Path("client"), Address: s.listener.Addr().String(), CACertificate: s.ca,
			Credentials: s.owner, SubscriptionName: SubscriptionName, Now: s.clock.Now(), Getenv: os.Getenv,
		})
		if err != nil {
			s.cfg.Log.Error("prepare the environment of jobs", "error", err)
			return
		}
		for _, name := range env.Names() {
			switch {
			case strings.HasPrefix(name, "ARM_"), strings.HasPrefix(name, "AZURE_"), strings.HasPrefix(name, "AZIMUTH_"):
			default:
				s.trustEnv = append(s.trustEnv, name+"="+env.Vars[name])
			}
		}
	})
	return s.trustEnv
}

// Supervise is the hidden command that the local runner starts beside each task.
func Supervise(ctx context.Context, args []string, stderr io.Writer) int {
	return local.SuperviseMain(ctx, args, stderr)
}

// KillTasks ends every node, compute instance and task that runs under a home
// without a server.
func KillTasks(ctx context.Context, d home.Dir) error {
	return errors.Join(killTasks(ctx, d.Nodes()), killTasks(ctx, instanceNodes(d)))
}

func killTasks(ctx context.Context, dir string) error {
	r, err := local.Open(local.Options{Dir: dir, Clock: clock.NewAdjustable(0)})
	if err != nil {
		return fmt.Errorf("end jobs: %w", err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	watch, synced := context.WithCancel(ctx)
	var nodes []string
	err = r.Watch(watch, func(rep compute.Report) {
		switch {
		case rep.Node != nil:
			nodes = append(nodes, rep.Node.ID)
		case rep.Synced:
			synced()
		}
	})
	synced()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("end jobs: %w", err)
	}
	for _, id := range nodes {
		if err := r.StopNode(ctx, id); err != nil {
			return fmt.Errorf("end jobs on node %s: %w", id, err)
		}
	}
	return nil
}
