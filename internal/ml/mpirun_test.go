package ml_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// standIn starts processes as mpirun does, as far as jobs see it.
const standIn = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    -np) n=$2; shift 2 ;;
    --bind-to) shift 2 ;;
    --*) shift ;;
    *) break ;;
  esac
done
i=0
while [ $i -lt $n ]; do
  OMPI_COMM_WORLD_RANK=$i OMPI_COMM_WORLD_SIZE=$n OMPI_COMM_WORLD_LOCAL_RANK=$i "$@" &
  i=$((i+1))
done
wait
`

func TestMPIRun(t *testing.T) {
	h := newHarness(t)
	bin := t.TempDir()
	h.must(os.WriteFile(filepath.Join(bin, "mpirun"), []byte(standIn), 0o700))
	h.path = bin + string(filepath.ListSeparator) + os.Getenv("PATH")
	h.restart()
	h.submit("mpi", "resources.instanceCount", 2, "distribution", map[string]any{"distributionType": "mpi", "processCountPerInstance": 2},
		"command", `echo "it's $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE, $OMPI_COMM_WORLD_LOCAL_RANK of $OMPI_COMM_WORLD_LOCAL_SIZE on node $AZUREML_CR_NODE_RANK $ODD"; echo $OMPI_COMM_WORLD_RANK > outputs/rank$OMPI_COMM_WORLD_RANK`,
		"environmentVariables", map[string]any{"ODD": "a'b $c"})
	specs := h.prepare("mpi", 1, 2)
	if len(specs) != 1 || specs[0].Argv[0] != filepath.Join(bin, "mpirun") || envOf(specs[0], "OMPI_COMM_WORLD_RANK") != "" {
		t.Fatalf("tasks are %+v", specs)
	}
	s := specs[0]
	log, err := os.OpenFile(s.LogPath, os.O_APPEND|os.O_WRONLY, 0)
	h.must(err)
	defer log.Close()
	cmd := exec.CommandContext(t.Context(), s.Argv[0], s.Argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.Dir, s.Env, log, log
	h.must(cmd.Run())
	h.started("mpi", 1)
	h.finish("mpi", 1, completed())
	for name, want := range map[string]string{
		"std_log.txt": "it's 0 of 4, 0 of 2 on node 0 a'b $c\n", "std_log_process_01.txt": "it's 1 of 4, 1 of 2 on node 0 a'b $c\n",
		"std_log_process_02.txt": "it's 2 of 4, 0 of 2 on node 1 a'b $c\n", "std_log_process_03.txt": "it's 3 of 4, 1 of 2 on node 1 a'b $c\n",
	} {
		if got, _ := h.blobText("azureml", "ExperimentRun/dcid.mpi/user_logs/"+name); !strings.HasSuffix(got, want) || !strings.Contains(got, "are started by "+bin) {
			t.Errorf("%s is %q, want %q at its end", name, got, want)
		}
	}
	if got, _ := h.blobText("azureml", "ExperimentRun/dcid.mpi/outputs/rank3"); got != "3\n" { // of the other node
		t.Errorf("what the last process wrote is %q", got)
	}
}
