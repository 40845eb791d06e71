// Oracle decodes component manifests with Dapr's own types and YAML library and says, in one line
// of JSON a document, what Dapr's disk loader makes of each. The differential tests compare
// keyref's decoder with it on more documents than anybody would record.
//
// It reads documents from standard input, each as a 4-byte little-endian length followed by the
// bytes of one chunk, as the loader has split them at "---". The loader itself is internal to
// Dapr: outcomeOf repeats what its loop does for components (decodeYaml in
// pkg/internal/loader/disk/manifest.go).
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	components "github.com/dapr/dapr/pkg/apis/components/v1alpha1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// maxWaiting is how many documents a caller may write before it reads the first answer.
const maxWaiting = 1 << 16

type object = map[string]any

// outcomeOf decodes one chunk as Dapr's loader of components does.
func outcomeOf(document []byte) (outcome object) {
	defer func() {
		if r := recover(); r != nil {
			outcome = object{"outcome": "panic", "error": fmt.Sprint(r)}
		}
	}()
	var ti struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata,omitzero"`
	}
	if err := yaml.Unmarshal(document, &ti); err != nil {
		return object{"outcome": "error", "error": err.Error()}
	}
	if ti.APIVersion != "dapr.io/v1alpha1" || ti.Kind != "Component" {
		return object{"outcome": "skip"}
	}
	if problems := path.IsValidPathSegmentName(ti.Name); len(problems) > 0 {
		problem := fmt.Sprintf("invalid name %q for %q: %s", ti.Name, ti.Kind, strings.Join(problems, "; "))
		return object{"outcome": "error", "error": problem}
	}
	var manifest components.Component
	if err := yaml.Unmarshal(document, &manifest); err != nil {
		return object{"outcome": "error", "error": err.Error()}
	}
	return object{"outcome": "component", "component": describe(&manifest)}
}

// describe lists what the runtime reads of a component. No collection is null, unlike a value
// that is absent.
func describe(c *components.Component) object {
	items := []object{}
	for i := range c.Spec.Metadata {
		pair := &c.Spec.Metadata[i]
		item := object{"name": pair.Name, "value": nil, "secretKeyRef": pair.SecretKeyRef, "envRef": pair.EnvRef}
		if pair.HasValue() {
			value := pair.Value.String()
			item["value"] = value
			if !utf8.ValidString(value) {
				item["valueBase64"] = base64.StdEncoding.EncodeToString([]byte(value))
			}
		}
		items = append(items, item)
	}
	return object{
		"name": c.Name, "namespace": c.Namespace,
		"labels": maps.Collect(maps.All(c.Labels)), "annotations": maps.Collect(maps.All(c.Annotations)),
		"type": c.Spec.Type, "version": c.Spec.Version,
		"ignoreErrors": c.Spec.IgnoreErrors, "initTimeout": c.Spec.InitTimeout, "metadata": items,
		"secretStore": c.SecretStore, "scopes": append([]string{}, c.Scopes...),
	}
}

// read sends every document of standard input to documents and closes it.
func read(documents chan<- []byte) {
	defer close(documents)
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	for {
		var length [4]byte
		if _, err := io.ReadFull(in, length[:]); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatalf("read length: %v", err)
		}
		document := make([]byte, binary.LittleEndian.Uint32(length[:]))
		if _, err := io.ReadFull(in, document); err != nil {
			log.Fatalf("read document: %v", err)
		}
		documents <- document
	}
}

// answer writes an outcome for each document, in order. It flushes whenever none is waiting, since
// whoever wrote them may be waiting for the last answer.
func answer(documents <-chan []byte) {
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	lines := json.NewEncoder(out)
	for document := range documents {
		err := lines.Encode(outcomeOf(document))
		if err == nil && len(documents) == 0 {
			err = out.Flush()
		}
		if err != nil {
			log.Fatalf("write outcome: %v", err)
		}
	}
	out.Flush()
}

// bench prints how long one document takes when all of them are decoded the given number of times.
func bench(documents <-chan []byte, rounds int) {
	var all [][]byte
	for document := range documents {
		all = append(all, document)
	}
	start := time.Now()
	for range rounds {
		for _, document := range all {
			outcomeOf(document)
		}
	}
	each := time.Since(start).Nanoseconds() / int64(max(1, rounds*len(all)))
	fmt.Printf("{\"documents\":%d,\"nanosecondsPerDocument\":%d}\n", len(all), each)
}

func main() {
	log.SetFlags(0)
	rounds := flag.Int("bench", 0, "decode all documents `N` times and print only the time one takes")
	flag.Parse()
	debug.SetGCPercent(400) // the live heap is small, so collect it less often
	documents := make(chan []byte, maxWaiting)
	go read(documents)
	if *rounds > 0 {
		bench(documents, *rounds)
	} else {
		answer(documents)
	}
}
