package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// fault is one mistake that somebody could make.
type fault struct {
	name  string
	file  string // from the root of the module
	old   string // stands there exactly once
	new   string
	pkg   string // whose tests should notice
	tests string // which of them, as of -run
}

// outcome is what the tests said.
type outcome struct {
	by   string // the test that failed; "": none
	took time.Duration
}

// root is the directory of the module.
func root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("ask for the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// mutated is the text of the file with the fault in it.
func (f fault) mutated(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, f.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), f.old); n != 1 {
		return "", fmt.Errorf("the text to be replaced stands in %s %d times, not once: %q", f.file, n, f.old)
	}
	return strings.Replace(string(text), f.old, f.new, 1), nil
}

// overlay writes the files for -overlay into a directory, and gives the name of
// the one to pass.
func (f fault) overlay(dir, into string) (string, error) {
	text, err := f.mutated(dir)
	if err != nil {
		return "", err
	}
	source, list := filepath.Join(into, filepath.Base(f.file)), filepath.Join(into, "overlay.json")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(dir, f.file): source}})
	if err != nil {
		return "", err
	}
	return list, os.WriteFile(list, b, 0o600)
}

// firstFailure finds the test that failed, or what else went wrong.
var firstFailure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^panic: (.*)|^(fatal error: .*)`)

// try runs the tests against the fault.
func (f fault) try(limit time.Duration) (outcome, error) {
	dir, err := root()
	if err != nil {
		return outcome{}, err
	}
	temp, err := os.MkdirTemp("", "mutation-")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(temp)
	overlay, err := f.overlay(dir, temp)
	if err != nil {
		return outcome{}, err
	}
	start := time.Now()
	command := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-failfast", "-timeout", limit.String(), "-run", f.tests, f.pkg)
	command.Dir = dir
	out, err := command.CombinedOutput()
	took := time.Since(start)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return outcome{took: took}, nil
	case !errors.As(err, &exit):
		return outcome{}, err
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return outcome{}, fmt.Errorf("it does not compile:\n%s", out)
	}
	by := firstFailure.FindSubmatch(out)
	if by == nil {
		return outcome{}, fmt.Errorf("the tests failed without saying where:\n%s", out)
	}
	return outcome{by: string(bytes.Join(by[1:], nil)), took: took}, nil
}
