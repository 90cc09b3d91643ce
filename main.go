// Command canopy is a distributed, consistent directory-tree store that speaks
// the etcd v2 HTTP/JSON API.
//
// This package only connects the others. Each command is one row of the table
// below and one file: it reads its flags with config, and runs what they ask for.
package main

import (
	"os"
	"path/filepath"

	"canopy/config"
	"canopy/ctl"
	"canopy/ctl/words"
	"canopy/etcdserver"
	"canopy/internal/process"
	migrate "canopy/migration/command"
)

// version is our own; that of the API we speak is etcdserver.APIVersion.
const version = "0.1.0"

// command is a first word of the command line.
type command struct {
	config.Command
	run func(argv, environ []string) (exit int) // argv is what follows the word
}

// commands are all of them. Without such a word, canopy serves.
func commands() []command {
	return []command{
		{config.Command{Name: "ctl", Summary: "read, change and watch keys, manage members and users, as etcdctl 2 does; canopy ctl --help"},
			func(argv, _ []string) int { return runCtl("canopy ctl", argv) }},
		{config.Command{Name: "discovery", Summary: "run a discovery service; canopy discovery --help shows its flags"}, runDiscovery},
	}
}

func main() {
	if filepath.Base(os.Args[0]) == "etcdctl" { // called by a link, from scripts
		os.Exit(runCtl("etcdctl", os.Args[1:]))
	}
	os.Exit(run(words.Reordered(os.Args[1:]), os.Environ()))
}

func runCtl(name string, argv []string) (exit int) {
	return ctl.Main(name, argv, migrate.Commands(version)...)
}

// run does what the command line says and gives the exit status (F41).
func run(argv, environ []string) (exit int) {
	for _, c := range commands() {
		if len(argv) > 0 && argv[0] == c.Name {
			return c.run(argv[1:], environ)
		}
	}
	return runServer(argv, environ)
}

// usage is the short usage, for faults in the command line and for --help.
func usage() string {
	var all []config.Command
	for _, c := range commands() {
		all = append(all, c.Command)
	}
	return config.UsageText(all)
}

func versionText() string {
	return config.VersionText(etcdserver.APIVersion, version, process.Revision())
}
