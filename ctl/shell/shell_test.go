package shell

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"canopy/ctl/command"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"", nil},
		{"  get  /a\t", []string{"get", "/a"}},
		{`set /a 'one two' "three 'four'"`, []string{"set", "/a", "one two", "three 'four'"}},
		{`set /a ''`, []string{"set", "/a", ""}},
		{`set /a\ b x\"y 'back\slash'`, []string{"set", "/a b", `x"y`, `back\slash`}},
		{`a'b'c`, []string{"abc"}},
	} {
		got, err := Split(c.line)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s is split into %q, %v", c.line, got, err)
		}
	}
	for _, line := range []string{`'a`, `"a`, `a\`} {
		if _, err := Split(line); !errors.Is(err, errQuote) {
			t.Errorf("%s is accepted", line)
		}
	}
}

func TestLinesOfStandardInput(t *testing.T) {
	var ran []string
	var said bytes.Buffer
	h := &command.Host{In: strings.NewReader("# nothing\n\nget '/a b'\nshell\nls /\nexit\nget /never\n"), Err: &said, Again: func(_ context.Context, words []string) int {
		ran = append(ran, strings.Join(words, "|"))
		return len(ran)
	}}
	r := &run{host: h}
	var exit command.Exit
	if err := r.lines(t.Context()); !errors.As(err, &exit) || exit != 2 {
		t.Errorf("the status is not that of the last command: %v", err)
	}
	if !slices.Equal(ran, []string{"get|/a b", "ls|/"}) || !strings.Contains(said.String(), "a shell already") {
		t.Errorf("%q ran, %s", ran, &said)
	}
}

func TestComplete(t *testing.T) {
	r := &run{names: []string{"set", "setdir", "get"}}
	for _, c := range []struct{ typed, want string }{{"g", "get "}, {"s", "set"}, {"setd", "setdir "}, {"set", ""}, {"x", ""}, {"get /a", ""}} {
		if got, at, ok := r.complete(c.typed, len(c.typed), '\t'); got != c.want || at != len(c.want) || ok != (c.want != "") {
			t.Errorf("%s becomes %q, %d, %v", c.typed, got, at, ok)
		}
	}
}
