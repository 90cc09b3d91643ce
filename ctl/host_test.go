package ctl

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"canopy/client"
	"canopy/client/membertest"
	"canopy/ctl/words"
)

// The commands of a shell have its global flags, and its status is that of the last one.
func TestShell(t *testing.T) {
	run := ourRunner(t, membertest.Start(t, 1).ClientURLs()[0])
	stdout, stderr, exit := run([]string{"-o", "json", "--no-sync", "shell"}, "set /a 'one two'\nls /\nget /nope\n")
	if exit != exitServer || !strings.Contains(stdout, `"value":"one two"`) || !strings.Contains(stdout, `["/a"]`) || !strings.Contains(stderr, "100: Key not found (/nope)") {
		t.Errorf("status %d\n%s\n%s", exit, stdout, stderr)
	}
}

func TestBench(t *testing.T) {
	cluster := membertest.Start(t, 1)
	run := ourRunner(t, cluster.ClientURLs()[0])
	for _, what := range []string{"set", "get"} {
		stdout, stderr, exit := run([]string{"-o", "json", "bench", what, "--requests", "50", "--clients", "4"}, "")
		var said struct{ Requests, Failed int }
		if err := json.Unmarshal([]byte(stdout), &said); err != nil || said.Requests != 50 || said.Failed != 0 || exit != 0 {
			t.Errorf("status %d, %s, %s, %v", exit, stdout, stderr, err)
		}
	}
	r, err := newClient(t, cluster.ClientURLs()).Get(t.Context(), "/", client.GetOptions{})
	if err != nil || len(r.Node.Nodes) != 0 {
		t.Errorf("keys are left: %v, %v", r, err)
	}
	if _, _, exit := run([]string{"bench", "nosuch"}, ""); exit != exitUsage {
		t.Errorf("the status of a load that does not exist is %d", exit)
	}
}

// A view of top has the leader, and the changes since the one before by subtree.
func TestTop(t *testing.T) {
	cluster := membertest.Start(t, 3)
	c := newClient(t, cluster.ClientURLs())
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if _, err := c.Set(ctx, "/busy/"+strconv.Itoa(n%7), "v", client.SetOptions{}); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	defer func() { stop(); writing.Wait() }()
	stdout, stderr, exit := ourRunner(t, cluster.ClientURLs()[0])([]string{"-o", "json", "top", "--rounds", "2", "--interval", "1s"}, "")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var said struct {
		Leader           string
		Members          int
		Watches          int
		ChangesPerSecond float64
		Busiest          []struct {
			Key     string
			Changes int
		}
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &said); err != nil || exit != 0 || len(lines) != 2 {
		t.Fatalf("status %d, %s, %s, %v", exit, stdout, stderr, err)
	}
	if !strings.HasPrefix(said.Leader, "m") || said.Members != 3 || said.ChangesPerSecond <= 0 || len(said.Busiest) != 1 || said.Busiest[0].Key != "/busy" {
		t.Errorf("the view is %+v", said)
	}
}

// Keys are completed for commands of other packages, too.
func TestKeysOfFurtherCommandsAreCompleted(t *testing.T) {
	run := ourRunner(t, membertest.Start(t, 1).ClientURLs()[0])
	if _, stderr, exit := run([]string{"mk", "/locks/a", "v"}, ""); exit != 0 {
		t.Fatal(stderr)
	}
	for _, name := range []string{"get", "tree", "cp", "mv", "edit", "diff", "lock", "elect"} {
		if stdout, stderr, _ := run([]string{"__complete", name, "/lo"}, ""); !strings.HasPrefix(stdout, "/locks/\n") {
			t.Errorf("%s: %q, %s", name, stdout, stderr)
		}
	}
}

func TestManualPages(t *testing.T) {
	dir := t.TempDir()
	if _, stderr, exit := ourRunner(t, "http://127.0.0.1:1")([]string{"man", dir}, ""); exit != 0 {
		t.Fatalf("status %d, %s", exit, stderr)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) < 40 {
		t.Fatalf("only %d pages are written, %v", len(pages), err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "etcdctl-member-add.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".SH NAME\netcdctl\\-member\\-add \\- Add a member", ".SH GLOBAL OPTIONS", ".B \\-\\-endpoints"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}

func TestReordered(t *testing.T) {
	for _, c := range [][2]string{
		{"__complete ctl get /a", "ctl __complete get /a"},
		{"__completeNoDesc ctl get /a", "ctl __completeNoDesc get /a"},
		{"ctl get /a", "ctl get /a"}, {"__complete ct", "__complete ct"}, {"", ""},
	} {
		if got := words.Reordered(strings.Fields(c[0])); !slices.Equal(got, strings.Fields(c[1])) {
			t.Errorf("%s becomes %q", c[0], got)
		}
	}
}
