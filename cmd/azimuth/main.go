// Command azimuth gives a team an Azure Machine Learning environment on its own
// machines.
package main

import (
	"os"

	"github.com/azimuth-ml/azimuth/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
