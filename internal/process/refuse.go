package process

import (
	"errors"
	"fmt"
	"os"

	"canopy/config"
	"canopy/internal/redact"
)

// Refuse prints why a command line or the environment cannot be used, with the usage if that helps, and gives the exit status
// (F41).
func Refuse(err error, usage string) (exit int) {
	fmt.Fprintln(os.Stderr, redact.Passwords(err.Error()))
	var faults *config.Error
	if !errors.As(err, &faults) {
		return 1
	}
	if faults.Usage() {
		fmt.Print(usage)
	}
	return faults.Exit
}
