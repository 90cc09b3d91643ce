package ctl

import "github.com/spf13/cobra"

// atMost refuses more arguments than a command has (C6).
func atMost(most int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > most {
			return usage("too many arguments")
		}
		return nil
	}
}

// noArguments is for commands whose refusal etcdctl has, too.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return plain(exitUsage, "No arguments accepted")
	}
	return nil
}
