package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
)

const (
	// streamPause is how long stream waits between looks at a job.
	streamPause = 250 * time.Millisecond
	// streamPatience is how long a server may be away while a job is streamed.
	streamPatience = time.Minute
)

// stream shows a job's log until the job ends. Its exit code tells how.
func (a *app) stream(ctx context.Context, s *session, ws, job arm.Doc) error {
	name := job.String("name")
	fmt.Fprintf(a.stdout, "RunId: %s\n", name)
	st := &streamer{app: a, session: s, job: name, base: runHistory(ws), workspace: ws, steps: map[string]string{}}
	lost := time.Time{}
	for {
		j, err := s.getJob(ctx, ws, name)
		if err == nil {
			err = st.follow(ctx, j)
		}
		switch {
		case err == nil:
			lost = time.Time{}
			job = j
		case !unreachable(err) || ctx.Err() != nil:
			return err
		case lost.IsZero():
			lost = time.Now()
			a.step("the server does not answer; waiting for it")
		case time.Since(lost) > streamPatience:
			return hint(err, "The job may go on all the same. Start the server (azimuth serve, or azimuth up) and look: azimuth ml job stream -n %s", name)
		}
		if lost.IsZero() {
			status := job.String("properties.status")
			st.status(status, job.String("properties.queueingInfo.message"))
			if terminal(status) {
				if err := st.follow(ctx, job); err != nil {
					return err
				}
				return a.finished(ctx, s, ws, job)
			}
		}
		timer := time.NewTimer(streamPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			fmt.Fprintf(a.stderr, "\nThe job goes on. Look again: azimuth ml job stream -n %s; end it: azimuth ml job cancel -n %s\n", name, name)
			return ctx.Err()
		}
	}
}

// unreachable reports whether err says that no server answers.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		strings.Contains(err.Error(), "EOF")
}

func terminal(status string) bool {
	switch status {
	case "Completed", "Failed", "Canceled", "NotResponding":
		return true
	}
	return false
}

type streamer struct {
	app       *app
	session   *session
	job       string
	base      string
	workspace arm.Doc
	said      string
	log       string // shared access URL
	offset    int64
	steps     map[string]string // what was said of each step
}

// follow shows what is new of a job: its log, or its steps.
func (st *streamer) follow(ctx context.Context, job arm.Doc) error {
	word := "Step"
	switch strings.ToLower(job.String("properties.jobType")) {
	case "pipeline":
	case "sweep":
		word = "Trial"
	default:
		return st.copyLog(ctx)
	}
	steps, err := st.session.steps(ctx, st.workspace, st.job)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if st.steps[s.RunID] != s.Status {
			st.steps[s.RunID] = s.Status
			fmt.Fprintf(st.app.stdout, "%s %s (%s): %s\n", word, s.name(), s.RunID, s.Status)
		}
	}
	return nil
}

func (st *streamer) status(status, why string) {
	line := status
	if why != "" && !terminal(status) && status != "Running" {
		line += ": " + why
	}
	if line != st.said && !terminal(status) {
		st.said = line
		st.app.step("%s", line)
	}
}

// runHistory is the address of the workspace's run history service.
func runHistory(ws arm.Doc) string {
	host := "https://" + arm.NormalizeLocation(ws.String("location")) + ".api.azureml.ms"
	if u, err := url.Parse(ws.String("properties.discoveryUrl")); err == nil && u.Host != "" {
		host = u.Scheme + "://" + u.Host
	}
	return host + "/history/v1.0" + ws.String("id")
}

// copyLog writes what the log has beyond what was shown.
func (st *streamer) copyLog(ctx context.Context) error {
	if st.log == "" {
		var details struct{ LogFiles map[string]string }
		err := st.session.client.DoURL(ctx, http.MethodGet, st.base+"/runs/"+url.PathEscape(st.job)+"/details", nil, &details)
		if client.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		st.log = details.LogFiles["user_logs/std_log.txt"]
		if st.log == "" {
			return nil
		}
		fmt.Fprintf(st.app.stdout, "\nStreaming user_logs/std_log.txt\n===============================\n\n")
	}
	n, err := st.session.client.ReadBlob(ctx, st.log, st.offset, st.app.stdout)
	st.offset += n
	return err
}

// finished says how the job ended and what it measured.
func (a *app) finished(ctx context.Context, s *session, ws, job arm.Doc) error {
	status := job.String("properties.status")
	style := a.style(a.stdout)
	fmt.Fprintf(a.stdout, "\nExecution Summary\n=================\nRunId:  %s\n", job.String("name"))
	metrics, err := s.metrics(ctx, ws, job.String("name"))
	if err != nil {
		return err
	}
	if len(metrics) > 0 {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(metrics)) {
			parts = append(parts, fmt.Sprintf("%s=%.4g", k, metrics[k]))
		}
		fmt.Fprintf(a.stdout, "Metrics: %s\n", strings.Join(parts, "  "))
	}
	if best, ok := job.Object("properties.properties")["best_child_run_id"].(string); ok {
		fmt.Fprintf(a.stdout, "Best trial: %s\n", best)
	}
	if status == "Completed" {
		fmt.Fprintf(a.stdout, "Status: %s\n", style.green(status))
		return nil
	}
	fmt.Fprintf(a.stdout, "Status: %s\n", style.red(status))
	if msg := job.String("properties.error.message"); msg != "" {
		fmt.Fprintf(a.stdout, "%s\n", msg)
	}
	return &exitError{code: exitFailure, err: fmt.Errorf("job %s ended as %s", job.String("name"), status)}
}

// metrics is the last value of each metric that a job logged.
func (s *session) metrics(ctx context.Context, ws arm.Doc, job string) (map[string]float64, error) {
	u := strings.Replace(runHistory(ws), "/history/v1.0", "/mlflow/v1.0", 1) + "/api/2.0/mlflow/runs/get?run_id=" + url.QueryEscape(job)
	var answer struct {
		Run struct {
			Data struct {
				Metrics []struct {
					Key   string
					Value float64
				}
			}
		}
	}
	if err := s.client.DoURL(ctx, http.MethodGet, u, nil, &answer); err != nil {
		if client.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	out := map[string]float64{}
	for _, m := range answer.Run.Data.Metrics {
		out[m.Key] = m.Value
	}
	return out, nil
}
