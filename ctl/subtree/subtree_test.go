package subtree

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"canopy/client"
	"canopy/client/membertest"
	"canopy/ctl/command"
)

func start(t *testing.T) (*tool, *client.Client, *bytes.Buffer) {
	t.Helper()
	c, err := client.New(client.Config{Endpoints: membertest.Start(t, 1).ClientURLs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var said bytes.Buffer
	run := func(ctx context.Context, do func(context.Context, *client.Client) error) error { return do(ctx, c) }
	return &tool{&command.Host{In: strings.NewReader(""), Out: &said, Err: &said, Format: func() string { return "simple" }, Run: run, RunLong: run,
		Getenv: func(string) string { return "" }}}, c, &said
}

func set(t *testing.T, c *client.Client, key, value string) {
	t.Helper()
	if _, err := c.Set(t.Context(), key, value, client.SetOptions{}); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c *client.Client, key, want string) {
	t.Helper()
	r, err := c.Get(t.Context(), key, client.GetOptions{})
	switch {
	case want == "" && errors.Is(err, client.ErrKeyNotFound):
	case err != nil:
		t.Errorf("%s: %v, want %q", key, err, want)
	case r.Node.Value != want:
		t.Errorf("%s is %q, want %q", key, r.Node.Value, want)
	}
}

// A key that changes between its copy and its removal stays, with its new value; the others move.
func TestMoveLosesNoChange(t *testing.T) {
	tool, c, said := start(t)
	set(t, c, "/a/x", "1")
	set(t, c, "/a/y", "1")
	w := &transfer{tool: tool, recursive: true, remove: true}
	top, err := read(t.Context(), c, "/a")
	if err != nil {
		t.Fatal(err)
	}
	if err := walk(top, func(place string, n *client.Node) error { return w.copy(t.Context(), c, n, "/b"+place) }); err != nil {
		t.Fatal(err)
	}
	set(t, c, "/a/x", "2")
	set(t, c, "/a/new", "1")
	if err := w.removeAll(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"/a/x": "2", "/b/x": "", "/a/y": "", "/b/y": "1", "/a/new": "1"} {
		expect(t, c, key, want)
	}
	if w.changed != 1 || !strings.Contains(said.String(), "/a/x has changed meanwhile") || !strings.Contains(said.String(), "/a stays") {
		t.Errorf("%d keys have changed, and the user is told %q", w.changed, said)
	}
}

func TestEdit(t *testing.T) {
	tool, c, said := start(t)
	set(t, c, "/k", "old")
	editor := func(text string) {
		tool.Getenv = func(name string) string {
			if name == "EDITOR" {
				return text
			}
			return ""
		}
	}
	editor("printf 'new\\n' >")
	for _, key := range []string{"/k", "/made"} {
		if err := tool.edit(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		expect(t, c, key, "new")
	}
	editor("true")
	if err := tool.edit(t.Context(), "/k"); err != nil || !strings.Contains(said.String(), "/k is unchanged") {
		t.Errorf("%v, %s", err, said)
	}
	editor("false")
	if err := tool.edit(t.Context(), "/k"); err == nil {
		t.Error("an editor that fails changes a key")
	}
	editor("printf mine >")
	inner := tool.Getenv
	tool.Getenv = func(name string) string { set(t, c, "/k", "theirs"); return inner(name) }
	if err := tool.edit(t.Context(), "/k"); !errors.Is(err, client.ErrCompareFailed) {
		t.Errorf("a change of others is overwritten: %v", err)
	}
	expect(t, c, "/k", "theirs")
	if !strings.Contains(said.String(), "its value is now:\ntheirs") || !strings.Contains(said.String(), "the text is in ") {
		t.Errorf("the user is told %q", said)
	}
}
