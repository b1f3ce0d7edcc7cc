package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/server"
)

const (
	armHost      = "https://management.azure.com"
	subscription = "/subscriptions/00000000-0000-0000-0000-000000000001"
	smallGroup   = subscription + "/resourceGroups/rg-small"
	smallWS      = smallGroup + "/providers/Microsoft.MachineLearningServices/workspaces/mlw-small"
	smallBlobs   = "https://stsmall001.blob.core.windows.net"

	forARM     = "https://management.azure.com"
	forVault   = "https://vault.azure.net"
	forStorage = "https://storage.azure.com"
)

// wire speaks to a server as any client does: through the proxy, trusting the
// home's CA. It is safe for concurrent use.
type wire struct {
	http   *http.Client
	owner  server.Owner
	tokens map[string]string // by audience, of the owner
}

// wire makes a client for the running server and signs the owner in.
func (e *env) wire() *wire {
	e.t.Helper()
	proxy, err := url.Parse("http://" + e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(e.home, "ca", "ca.pem"))
	if err != nil {
		e.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	w := &wire{tokens: map[string]string{}, http: &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 64,
	}}}
	e.t.Cleanup(w.http.CloseIdleConnections)
	b, err := os.ReadFile(filepath.Join(e.home, "owner.json"))
	if err != nil {
		e.t.Fatal(err)
	}
	if err := json.Unmarshal(b, &w.owner); err != nil {
		e.t.Fatal(err)
	}
	for _, audience := range []string{forARM, forStorage, forVault} {
		if w.tokens[audience], err = w.signIn(e.t.Context(), audience); err != nil {
			e.t.Fatal(err)
		}
	}
	return w
}

// signIn gets a token of the owner for an audience.
func (w *wire) signIn(ctx context.Context, audience string) (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {w.owner.ClientID}, "client_secret": {w.owner.ClientSecret},
		"scope": {audience + "/.default"},
	}
	a, err := w.do(ctx, "", http.MethodPost, "https://login.microsoftonline.com/"+w.owner.TenantID+"/oauth2/v2.0/token",
		map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, form.Encode())
	if err != nil {
		return "", err
	}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(a.body, &token); err != nil || token.AccessToken == "" {
		return "", fmt.Errorf("sign in: HTTP %d %s", a.status, a.body)
	}
	return token.AccessToken, nil
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do makes one request; token may be empty.
func (w *wire) do(ctx context.Context, token, method, target string, header map[string]string, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// arm is do for Azure Resource Manager. An answer that is no success is an
// error.
func (w *wire) arm(ctx context.Context, method, path, version, body string) (answer, error) {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	a, err := w.do(ctx, w.tokens[forARM], method, armHost+path+sep+"api-version="+version, map[string]string{"Content-Type": "application/json"}, body)
	if err == nil && a.status >= 300 {
		err = fmt.Errorf("%s %s: HTTP %d %s", method, path, a.status, a.body)
	}
	return a, err
}

// putBlob uploads a block blob of the account stsmall001.
func (w *wire) putBlob(ctx context.Context, path, text string) error {
	a, err := w.do(ctx, w.tokens[forStorage], http.MethodPut, smallBlobs+path,
		map[string]string{"x-ms-version": "2021-08-06", "x-ms-blob-type": "BlockBlob"}, text)
	if err == nil && a.status != http.StatusCreated {
		err = fmt.Errorf("PUT %s: HTTP %d %s", path, a.status, a.body)
	}
	return err
}

// getBlob reads a blob of the account stsmall001.
func (w *wire) getBlob(ctx context.Context, path string) (string, error) {
	a, err := w.do(ctx, w.tokens[forStorage], http.MethodGet, smallBlobs+path, map[string]string{"x-ms-version": "2021-08-06"}, "")
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("GET %s: HTTP %d %s", path, a.status, a.body)
	}
	return string(a.body), err
}

// submit makes a job that runs command on cpu-cluster.
func (w *wire) submit(ctx context.Context, name, command string) error {
	body, err := json.Marshal(map[string]any{"properties": map[string]any{
		"jobType": "Command", "command": command, "computeId": smallWS + "/computes/cpu-cluster", "experimentName": "wire",
		"environmentId": "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
	}})
	if err != nil {
		return err
	}
	_, err = w.arm(ctx, http.MethodPut, smallWS+"/jobs/"+name, "2024-04-01", string(body))
	return err
}

// jobStatus is how a job is.
func (w *wire) jobStatus(ctx context.Context, name string) (string, error) {
	a, err := w.arm(ctx, http.MethodGet, smallWS+"/jobs/"+name, "2024-04-01", "")
	var j job
	if err == nil {
		err = json.Unmarshal(a.body, &j)
	}
	return j.Properties.Status, err
}

// serving is a server in the foreground.
type serving struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
}

// serve starts a server in the foreground and returns when it is ready. It ends
// with the test, if not before.
func (e *env) serve(args ...string) *serving {
	e.t.Helper()
	s := &serving{cmd: exec.Command(binary, append([]string{"serve"}, args...)...)}
	s.cmd.Env = e.environ()
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { s.kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "is ready on") {
		e.t.Fatalf("serve: %v %q\n%s", err, line, s.kill())
	}
	return s
}

// kill ends the server as a crash would and returns its log.
func (s *serving) kill() string {
	if s.cmd.ProcessState == nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
	return s.stderr.String()
}

// memory is a process's peak and present resident size in MiB. It is zero where
// the system does not say.
func memory(t testing.TB, pid int) (peak, now float64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kb); err == nil {
			peak = kb / 1024
		}
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			now = kb / 1024
		}
	}
	return peak, now
}
