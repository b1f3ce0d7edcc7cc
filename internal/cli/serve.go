package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/server"
)

const defaultListen = "127.0.0.1:4443"

// serveFlags are the flags of serve, which `up` passes on to the server that it
// starts in the background.
type serveFlags struct {
	listen    string
	strict    bool
	realistic bool
	runner    string
	verbose   bool
	sealKey   string // a file
}

func (f *serveFlags) args() []string {
	out := []string{"serve"}
	if f.listen != "" {
		out = append(out, "--listen", f.listen)
	}
	if f.strict {
		out = append(out, "--strict")
	}
	if f.realistic {
		out = append(out, "--realistic")
	}
	if f.runner != "" {
		out = append(out, "--runner", f.runner)
	}
	if f.sealKey != "" {
		out = append(out, "--seal-key-file", absolute(f.sealKey))
	}
	return out
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	var readyFD int
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server in the foreground",
		Long: `Run the server in the foreground until SIGINT or SIGTERM.

Jobs that run go on when the server ends, and are picked up when it starts
again. The server listens on loopback only.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			var ready *os.File
			if readyFD > 0 {
				ready = os.NewFile(uintptr(readyFD), "ready")
				defer func() {
					if err != nil {
						fmt.Fprintf(ready, "error %s\n", err)
					}
					ready.Close()
				}()
			}
			d, err := a.home()
			if err != nil {
				return err
			}
			if err := d.Make(); err != nil {
				return err
			}
			level := slog.LevelInfo
			if f.verbose {
				level = slog.LevelDebug
			}
			listen := f.listen
			if listen == "" {
				listen = envOr("AZIMUTH_LISTEN", defaultListen)
			}
			key, err := takeSealKey(f.sealKey)
			if err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				// A server keeps little in memory and makes much that lives for one
				// request: collecting a fifth as often makes blobs a quarter faster, for
				// a few tens of MiB (BenchmarkBlobSmall).
				debug.SetGCPercent(400)
			}
			log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
			s, err := server.Open(cmd.Context(), server.Config{
				Home: d, Listen: listen, Strict: f.strict, Realistic: f.realistic, Runner: f.runner, SealKey: key, Log: log, Version: buildVersion(),
			})
			if err != nil {
				return explainServe(err, d, listen)
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return s.Serve(cmd.Context(), func(address string) {
				fmt.Fprintf(a.stdout, "azimuth is ready on %s (home %s)\n", address, d)
				if ready != nil {
					fmt.Fprintln(ready, "ready")
					ready.Close()
				}
			})
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.verbose, "verbose", false, "log every request")
	cmd.Flags().IntVar(&readyFD, "ready-fd", 0, "file descriptor to report readiness on")
	cmd.Flags().MarkHidden("ready-fd")
	return cmd
}

func (f *serveFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "listen", "", "address to listen on (default $AZIMUTH_LISTEN, else "+defaultListen+")")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "refuse what Azure refuses at create")
	cmd.Flags().StringVar(&f.runner, "runner", "", "what jobs run in: processes of this machine (local, the default), or containers of podman or docker (container)")
	cmd.Flags().StringVar(&f.sealKey, "seal-key-file", "", "file with the key that encrypts secrets at rest (default $"+sealKeyFileEnv+", $"+sealKeyEnv+", else seal.key in the home)")
	cmd.Flags().BoolVar(&f.realistic, "realistic", false, "take as long as Azure does")
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// explainServe adds what to do to the ways in which a server cannot start.
func explainServe(err error, d home.Dir, listen string) error {
	switch {
	case errors.Is(err, home.ErrLocked):
		return hint(fmt.Errorf("%w (%s)", err, d), "Use it as it is (azimuth status), stop it (azimuth stop), or give this one another --home.")
	case errors.Is(err, syscall.EADDRINUSE):
		return hint(fmt.Errorf("another program listens on %s", listen), "Choose another address: --listen 127.0.0.1:PORT, or AZIMUTH_LISTEN.")
	case strings.Contains(err.Error(), "permission denied"):
		return hint(err, "Choose another --home or --listen.")
	}
	return explainSeal(err)
}
