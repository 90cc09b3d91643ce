package ctl

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"canopy/ctl/words"
)

func TestArguments(t *testing.T) {
	root := newRoot(&session{Env: ProcessEnv("etcdctl")})
	for _, c := range []struct{ args, want string }{
		{"set /k v -ttl 5", "set /k v --ttl 5"},
		{"set -ttl=5 /k v", "set --ttl=5 /k v"},
		{"-endpoints http://a -no-sync ls -recursive", "--endpoints http://a --no-sync ls --recursive"},
		{"rm /k --with-value -ttl", "rm /k --with-value -ttl"},
		{"-u -debug ls", "-u -debug ls"},
		{"set -- /k -ttl", "set -- /k -ttl"},
		{"ls -r -p /", "ls -r -p /"},
		{"set /k -nosuch", "set /k -nosuch"},
		{"-", "-"},
		{"role grant r -path /a -read", "role grant r --path /a --read"},
	} {
		if got := strings.Join(words.Normalize(root, strings.Fields(c.args)), " "); got != c.want {
			t.Errorf("C1: %s becomes %s, want %s", c.args, got, c.want)
		}
	}
}

// A flag takes a value in all commands, or in none: arguments are read before the command is known.
func TestFlagsAreAlike(t *testing.T) {
	takesValue := map[string]bool{}
	see := func(f *pflag.Flag) {
		for _, name := range []string{f.Name, f.Shorthand} {
			if before, known := takesValue[name]; name != "" && known && before != (f.NoOptDefVal == "") {
				t.Errorf("--%s takes a value in one command, and none in another", name)
			}
			takesValue[name] = f.NoOptDefVal == ""
		}
	}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		c.Flags().VisitAll(see)
		c.PersistentFlags().VisitAll(see)
		for _, below := range c.Commands() {
			visit(below)
		}
	}
	visit(newRoot(&session{Env: ProcessEnv("etcdctl")}))
	if len(takesValue) < 30 {
		t.Errorf("only %d flags are found", len(takesValue))
	}
}

// C8: a flag counts more than a variable; C9: an endpoint may be host:port.
func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		args      string
		variables map[string]string
		want      []string
	}{
		{"", nil, []string{"http://127.0.0.1:2379", "http://127.0.0.1:4001"}},
		{"--endpoint http://a:1", map[string]string{"ETCDCTL_ENDPOINTS": "http://b:1"}, []string{"http://a:1"}},
		{"-C http://a:1,b:2", nil, []string{"http://a:1", "http://b:2"}},
		{"--ca-file x --endpoints a:1", nil, []string{"https://a:1"}},
		{"", map[string]string{"ETCDCTL_PEERS": "c:1", "ETCDCTL_ENDPOINT": " b:1 , b:2"}, []string{"http://b:1", "http://b:2"}},
		{"--endpoints http://u:p@a:1", nil, []string{"http://a:1"}},
	} {
		env := ProcessEnv("etcdctl")
		env.Getenv = func(name string) string { return c.variables[name] }
		s := &session{Env: env}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		s.flags(flags)
		if err := flags.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.findEndpoints(context.Background(), s.caFile != "")
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s with %v: %v, %v, want %v", c.args, c.variables, got, err, c.want)
		}
	}
}
