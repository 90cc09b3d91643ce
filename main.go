// Command canopy is a distributed, consistent directory-tree store that speaks
// the etcd v2 HTTP/JSON API.
//
// This package only connects the others: flags and variables become one
// configuration (config), which becomes a member (etcdserver) behind its HTTP
// API (etcdserver/api). What is decided here is the order in which things
// begin and end.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"canopy/config"
	"canopy/etcdserver"
	"canopy/internal/slack"
)

// version is our own; that of the API we speak is etcdserver.APIVersion.
const version = "0.1.0"

func main() {
	os.Exit(run(os.Args[1:], os.Environ()))
}

// run does what the command line says and gives the exit status (F41).
func run(argv, environ []string) int {
	if len(argv) > 0 && argv[0] == "discovery" {
		return runDiscovery(argv[1:], environ)
	}
	invocation, err := config.Parse(argv, environ, begunBefore)
	if err != nil {
		return refuse(err)
	}
	switch invocation.Action {
	case config.Help:
		fmt.Print(config.HelpText())
		return 0
	case config.Version:
		fmt.Print(config.VersionText(etcdserver.APIVersion, version, revision()))
		return 0
	case config.Check:
		return check(invocation)
	}
	return serveUntilSignal(invocation)
}

// refuse prints why the command line or the environment cannot be used.
func refuse(err error) int {
	fmt.Fprintln(os.Stderr, config.Redacted(err.Error()))
	var faults *config.Error
	if !errors.As(err, &faults) {
		return 1
	}
	if faults.Usage() {
		fmt.Print(config.UsageText())
	}
	return faults.Exit
}

// serveUntilSignal runs a member or a proxy until SIGTERM or SIGINT. A second signal ends
// the process at once (F38).
func serveUntilSignal(invocation config.Invocation) int {
	exact := slack.Widen()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	logger, closeLog, err := newLogger(invocation.Config.Log)
	if err != nil {
		return refuse(err)
	}
	defer closeLog()
	defer tellStop(ctx, logger)()
	if err := setPackageLevels(logger, invocation.Config.Log.PackageLevels); err != nil {
		logger.Warn(err)
	}
	logNotes(logger, invocation.Notes)
	if exact != nil {
		logger.Infof("timers stay exact, which costs processor time: %v", exact)
	}
	systemd := newSupervisor(logger)
	defer systemd.begin(ctx)()
	err = serveAs(ctx, invocation.Config, systemd, logger)
	if removed := (*etcdserver.RemovedError)(nil); errors.As(err, &removed) {
		logger.Error(err)
		return 0 // a supervisor must not start it again (M43)
	}
	if err != nil {
		logger.Error(err)
		return 1
	}
	return 0
}

// revision is the commit that the program was built from, as far as the
// toolchain knows it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}
