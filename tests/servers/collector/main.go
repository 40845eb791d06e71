// Command collector runs the receivers of OpenTelemetry's collector and prints what they were sent.
//
//	collector [CERTIFICATE KEY]
//
// The first line on standard output is {"grpc": ADDRESS, "http": ADDRESS}; each line
// after it is {"headers": {...}, "traces": OTLP as JSON}. With a certificate, OTLP speaks TLS.
// Ends when standard input does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

var printing sync.Mutex

func print(value any) {
	printing.Lock()
	defer printing.Unlock()
	must(json.NewEncoder(os.Stdout).Encode(value))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// free is an address that nobody listened on a moment ago: receivers do not tell which one they got.
func free() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	return listener.Addr().String()
}

func received(ctx context.Context, traces ptrace.Traces) error {
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(traces)
	if err != nil {
		return err
	}
	headers := map[string]string{}
	metadata := client.FromContext(ctx).Metadata
	for name := range metadata.Keys() {
		headers[strings.ToLower(name)] = strings.Join(metadata.Get(name), ",")
	}
	print(map[string]any{"headers": headers, "traces": json.RawMessage(text)})
	return nil
}

func start(factory receiver.Factory, settings map[string]any) {
	config := factory.CreateDefaultConfig()
	must(confmap.NewFromStringMap(settings).Unmarshal(config))
	sink, err := consumer.NewTraces(received)
	must(err)
	set := receiver.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
		BuildInfo:         component.NewDefaultBuildInfo(),
	}
	made, err := factory.CreateTraces(context.Background(), set, config, sink)
	must(err)
	must(made.Start(context.Background(), componenttest.NewNopHost()))
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 1 && len(os.Args) != 3 {
		log.Fatal("usage: collector [CERTIFICATE KEY]")
	}
	at := map[string]string{"grpc": free(), "http": free()}
	serve := func(name string) map[string]any {
		settings := map[string]any{"endpoint": at[name], "include_metadata": true}
		if len(os.Args) == 3 {
			settings["tls"] = map[string]any{"cert_file": os.Args[1], "key_file": os.Args[2]}
		}
		return settings
	}
	start(otlpreceiver.NewFactory(), map[string]any{
		"protocols": map[string]any{"grpc": serve("grpc"), "http": serve("http")},
	})
	print(at)
	_, err := io.Copy(io.Discard, os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
