package test

import (
	"bufio"

	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// shownInstance is a compute instance as it is shown.
type shownInstance struct {
	Identity   struct{ PrincipalID string }
	Properties struct {
		Properties struct {
			State        string
			Applications []struct{ DisplayName, EndpointURI string }
			Errors       []struct {
				Error struct{ Code, Message string }
			}
			LastOperation struct{ OperationName, OperationStatus, OperationTrigger string }
		}
	}
}

func (e *env) instance(name string) shownInstance {
	e.t.Helper()
	var c shownInstance
	e.json(&c, "ml", "compute", "show", "-n", name)
	return c
}

// kernel speaks with one Jupyter kernel over a WebSocket.
type kernel struct {
	conn *websocket.Conn
	n    int
}

// dialKernel opens the channels of a kernel. A wss URL goes to the gateway, which
// tells hosts apart by the name in the handshake.
func (e *env) dialKernel(target string, header http.Header) (*kernel, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	origin := header.Get("Origin")
	if origin == "" {
		origin = "http://" + u.Host
	}
	cfg, err := websocket.NewConfig(target, origin)
	if err != nil {
		return nil, err
	}
	cfg.Header = header
	var conn net.Conn
	if conn, err = net.Dial("tcp", e.addr); err != nil {
		return nil, err
	}
	if u.Scheme == "wss" {
		pem, err := os.ReadFile(filepath.Join(e.home, "ca", "ca.pem"))
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		conn = tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}})
	}
	ws, err := websocket.NewClient(cfg, conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &kernel{conn: ws}, nil
}

// run runs code and returns what it printed.
func (k *kernel) run(t *testing.T, code string) string {
	t.Helper()
	k.n++
	id := fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), k.n)
	if err := k.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	err := websocket.JSON.Send(k.conn, map[string]any{
		"header":        map[string]any{"msg_id": id, "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3", "date": ""},
		"parent_header": map[string]any{}, "metadata": map[string]any{}, "channel": "shell", "buffers": []any{},
		"content": map[string]any{"code": code, "silent": false, "store_history": true, "user_expressions": map[string]any{}, "allow_stdin": false, "stop_on_error": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for {
		var m struct {
			Header struct {
				Type string `json:"msg_type"`
			} `json:"header"`
			Parent struct {
				ID string `json:"msg_id"`
			} `json:"parent_header"`
			Content struct {
				Text, EValue string
				State        string `json:"execution_state"`
			} `json:"content"`
		}
		if err := websocket.JSON.Receive(k.conn, &m); err != nil {
			t.Fatalf("kernel: %v after %q", err, out.String())
		}
		if m.Parent.ID != id {
			continue
		}
		switch m.Header.Type {
		case "stream":
			out.WriteString(m.Content.Text)
		case "error":
			t.Fatalf("the cell failed: %s", m.Content.EValue)
		case "status":
			if m.Content.State == "idle" {
				return strings.TrimSpace(out.String())
			}
		}
	}
}

// getToken is a cell that gets a token of the instance's identity, as the
// identity libraries do.
const getToken = `
import json, os, urllib.request
q = os.environ["IDENTITY_ENDPOINT"] + "?api-version=2019-08-01&resource=https://management.azure.com"
r = urllib.request.Request(q, headers={"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]})
print(json.load(urllib.request.urlopen(r))["access_token"])`

// TestInstance runs Jupyter on a compute instance and uses it as people do: with
// a token at the address that the resource reports, and with a link in a browser
// that knows no proxy.
func TestInstance(t *testing.T) {
	need(t, "jupyter-notebook")
	e, dir := smallEnv(t)
	e.run("ml", "compute", "create", "-n", "ci-nb", "--type", "computeinstance", "--identity-type", "SystemAssigned")
	e.await("Jupyter runs", func() bool { return len(e.instance("ci-nb").Properties.Properties.Applications) == 1 })
	c := e.instance("ci-nb")
	p := c.Properties.Properties
	if p.State != "Running" || len(p.Errors) != 0 || p.LastOperation.OperationName != "Create" || p.LastOperation.OperationStatus != "Succeeded" {
		t.Fatalf("made: %+v", p)
	}
	jupyter := p.Applications[0].EndpointURI
	w := e.wire()
	ctx := t.Context()
	ask := func(token, method, target, body string, status int) []byte {
		t.Helper()
		a, err := w.do(ctx, token, method, target, map[string]string{"Content-Type": "application/json"}, body)
		if err != nil || a.status != status {
			t.Fatalf("%s %s: HTTP %d %s (%v), want %d", method, target, a.status, a.body, err, status)
		}
		return a.body
	}
	owner := w.tokens[forARM]
	const notebook = `{"type":"notebook","content":{"cells":[{"cell_type":"code","source":"6*7","metadata":{},"outputs":[],"execution_count":null}],"metadata":{},"nbformat":4,"nbformat_minor":4}}`
	ask(owner, "PUT", jupyter+"/api/contents/hello.ipynb", notebook, 201)
	ask("", "GET", jupyter+"/api/contents", "", 401)
	var made struct{ ID string }
	if err := json.Unmarshal(ask(owner, "POST", jupyter+"/api/kernels", `{"name":"python3"}`, 201), &made); err != nil {
		t.Fatal(err)
	}
	channels := "/api/kernels/" + made.ID + "/channels"
	k, err := e.dialKernel("wss"+strings.TrimPrefix(jupyter, "https")+channels, http.Header{"Authorization": {"Bearer " + owner}})
	if err != nil {
		t.Fatal(err)
	}
	if out := k.run(t, "answer = 6 * 7\nprint(answer)"); out != "42" {
		t.Errorf("the cell printed %q", out)
	}

	// the notebook is the instance's identity, which is not its user
	token := k.run(t, getToken)
	if got := claim(t, token, "oid"); got != c.Identity.PrincipalID {
		t.Errorf("the notebook has the identity %s, want %s", got, c.Identity.PrincipalID)
	}
	ask(token, "GET", jupyter+"/api/contents", "", 403)
	if _, err := e.dialKernel("wss"+strings.TrimPrefix(jupyter, "https")+channels, http.Header{"Authorization": {"Bearer " + token}}); err == nil {
		t.Error("somebody else's socket was opened")
	}

	// a browser
	link := strings.TrimSpace(e.run("ml", "compute", "connect", "ci-nb"))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Transport: &http.Transport{}}
	defer browser.CloseIdleConnections()
	get := func(target string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		line, _ := bufio.NewReader(resp.Body).ReadString('\n')
		return resp.StatusCode, line
	}
	if status, line := get(link); status != 200 || !strings.Contains(strings.ToLower(line), "<!doctype html>") {
		t.Fatalf("the link: HTTP %d %s", status, line)
	}
	base, _, _ := strings.Cut(link, ".azimuth/")
	if status, _ := get(link); status != 403 {
		t.Errorf("the link worked twice: HTTP %d", status)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	var cookies []string
	for _, c := range jar.Cookies(u) {
		cookies = append(cookies, c.String())
	}
	socket := "ws" + strings.TrimPrefix(base, "http") + strings.TrimPrefix(channels, "/")
	if _, err := e.dialKernel(socket, http.Header{"Cookie": cookies, "Origin": {"http://evil.example"}}); err == nil {
		t.Error("another site's page opened a socket")
	}
	b, err := e.dialKernel(socket, http.Header{"Cookie": cookies, "Origin": {"http://" + u.Host}})
	if err != nil {
		t.Fatal(err)
	}
	if out := b.run(t, "print(answer)"); out != "42" {
		t.Errorf("in the browser: %q", out)
	}

	// the server is killed: the kernel lives on, and the browser stays signed in
	e.kill()
	e.run("up", dir)
	if b, err = e.dialKernel(socket, http.Header{"Cookie": cookies, "Origin": {"http://" + u.Host}}); err != nil {
		t.Fatal(err)
	}
	if out := b.run(t, "print(answer + 1)"); out != "43" {
		t.Errorf("after the crash: %q", out)
	}

	e.run("ml", "compute", "stop", "-n", "ci-nb")
	if p := e.instance("ci-nb").Properties.Properties; p.State != "Stopped" || len(p.Applications) != 0 {
		t.Errorf("stopped: %+v", p)
	}
	w = e.wire()
	ask(owner, "GET", jupyter+"/api/contents", "", 409)
	if left := slices.DeleteFunc(processesOf(t, e.home), func(s string) bool { return strings.Contains(s, " serve") }); len(left) != 0 {
		t.Errorf("processes that are left: %v", left)
	}
	e.fails(1, "compute start -n ci-nb", "ml", "compute", "connect", "ci-nb")
	e.run("ml", "compute", "start", "-n", "ci-nb")
	e.await("Jupyter runs again", func() bool { return len(e.instance("ci-nb").Properties.Properties.Applications) == 1 })
	if got := ask(owner, "GET", jupyter+"/api/contents/hello.ipynb", "", 200); !strings.Contains(string(got), "6*7") {
		t.Errorf("the notebook: %s", got)
	}

	// idle
	e.fails(1, "15 minutes", "ml", "compute", "update", "-n", "ci-nb", "--idle-time-before-shutdown-minutes", "5")
	e.run("ml", "compute", "update", "-n", "ci-nb", "--idle-time-before-shutdown-minutes", "20")
	e.run("clock", "advance", "10m")
	if p := e.instance("ci-nb").Properties.Properties; p.State != "Running" {
		t.Errorf("after ten idle minutes: %+v", p)
	}
	e.run("clock", "advance", "15m")
	if p := e.instance("ci-nb").Properties.Properties; p.State != "Stopped" || p.LastOperation.OperationTrigger != "IdleShutdown" {
		t.Errorf("after 25 idle minutes: %+v", p)
	}

	e.run("ml", "compute", "delete", "-n", "ci-nb", "--yes")
	e.await("the disk is gone", func() bool { return len(entries(t, e.home, "instances", "disks")) == 0 })
	notebooks, err := filepath.Glob(filepath.Join(e.home, "files", "*", "*", "Users", "*", "hello.ipynb"))
	if err != nil || len(notebooks) != 1 {
		t.Errorf("notebooks: %v, %v", notebooks, err)
	}
	e.run("down", dir)
	if left := entries(t, e.home, "files"); len(left) != 0 {
		t.Errorf("files of a deleted account: %v", left)
	}
}

// TestInstanceWithoutJupyter checks that an instance says what is missing.
func TestInstanceWithoutJupyter(t *testing.T) {
	e, _ := smallEnv(t)
	e.run("stop")
	bin := t.TempDir() // a PATH with nothing in it
	t.Setenv("PATH", bin)
	e.serve()
	e.run("ml", "compute", "create", "-n", "ci-bare", "--type", "ComputeInstance")
	p := e.instance("ci-bare").Properties.Properties
	if p.State != "Running" || len(p.Applications) != 0 || len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Error.Message, "jupyter-notebook") {
		t.Errorf("made: %+v", p)
	}
	e.fails(1, "jupyter-notebook", "ml", "compute", "connect", "ci-bare")
	e.fails(2, "not for a compute of type ComputeInstance", "ml", "compute", "create", "-n", "ci-two", "--type", "ComputeInstance", "--max-instances", "2")
	e.fails(1, "only a compute instance", "ml", "compute", "stop", "-n", "cpu-cluster")
}

func entries(t *testing.T, elem ...string) []string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(elem...))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// claim reads a claim of a token, unverified.
func claim(t *testing.T, token, name string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a token: %q", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(b, &claims); err != nil {
		t.Fatal(err)
	}
	s, _ := claims[name].(string)
	return s
}
