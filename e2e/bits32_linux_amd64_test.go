package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// The recorded conversations against the program built for 32 bits (R57).
func TestConformanceOn32Bits(t *testing.T) {
	parallel(t)
	if !*long {
		t.Log("left out without -long")
		return
	}
	if _, err := os.Stat(*suite); err != nil {
		t.Skipf("the suite is not here: %v", err)
	}
	program := filepath.Join(t.TempDir(), "canopy")
	build := exec.Command("go", "build", "-o", program, "canopy")
	build.Env = append(os.Environ(), "GOARCH=386", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build for 32 bits: %v\n%s", err, out)
	}
	if err := exec.Command(program, "--version").Run(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("this kernel runs no programs of 32 bits")
	}
	s := newServer(t, "--history-events", "1000")
	s.line = s.args()
	s.line[0] = program
	scenarios, _ := servedScenarios(t, leftOut)
	runSuite(t, s.start(), scenarios)
}
