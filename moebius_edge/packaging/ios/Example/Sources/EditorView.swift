import MoebiusCore
import PhotosUI
import SwiftUI

/// The one screen: choose a photo, paint over what is to go, run, compare, share.
struct EditorView: View {
    @ObservedObject var editor: Editor
    @State private var item: PhotosPickerItem?
    @State private var erases = false
    @State private var radius = 0.03
    @State private var seed = 0
    @State private var showsBefore = false
    @State private var showsAbout = false

    var body: some View {
        NavigationStack {
            VStack(spacing: 12) {
                picture
                if editor.isBusy { progress } else { controls }
            }
            .padding()
            .navigationTitle("Moebius")
            .navigationBarTitleDisplayMode(.inline)
            .toolbar { toolbar }
            .alert("Moebius", isPresented: hasMessage) {
                Button("OK") { editor.message = nil }
            } message: {
                Text(editor.message ?? "")
            }
            .alert("About this model", isPresented: $showsAbout) {
                Button("Measure this device") {
                    if let options = try? ProfileOptions() { editor.profile(options) }
                }
                Button("OK", role: .cancel) {}
            } message: {
                Text(editor.about)
            }
            .onChange(of: item) { _, chosen in
                Task {
                    if let data = try? await chosen?.loadTransferable(type: Data.self) { editor.open(data) }
                }
            }
        }
    }

    private var hasMessage: Binding<Bool> {
        Binding(get: { editor.message != nil }, set: { if !$0 { editor.message = nil } })
    }

    @ViewBuilder private var picture: some View {
        if let result = editor.result, let photo = editor.photo {
            Image(uiImage: showsBefore ? photo : result)
                .resizable().scaledToFit().frame(maxHeight: .infinity)
                .accessibilityLabel(showsBefore ? "The photo before" : "The photo after")
        } else if let photo = editor.photo {
            MaskCanvas(photo: photo, strokes: $editor.strokes, radius: radius, erases: erases)
                .frame(maxHeight: .infinity)
                .disabled(editor.isBusy)
        } else {
            Text("Choose a photo, then paint over what is to go.")
                .foregroundStyle(.secondary).frame(maxHeight: .infinity)
        }
    }

    @ViewBuilder private var progress: some View {
        if case .running(let name, let done, let total) = editor.work {
            ProgressView(name, value: Double(done), total: Double(max(total, 1)))
            Button("Cancel", role: .cancel) { editor.cancel() }
        }
    }

    @ViewBuilder private var controls: some View {
        if editor.result != nil {
            Toggle("Before", isOn: $showsBefore)
            if let file = editor.resultFile { ShareLink(item: file) }
        } else if editor.photo != nil {
            HStack {
                Slider(value: $radius, in: 0.005...0.1) { Text("Size of the brush") }
                Toggle("Erase", isOn: $erases).toggleStyle(.button)
                Button("Undo") { _ = editor.strokes.popLast() }.disabled(editor.strokes.isEmpty)
            }
            HStack {
                Stepper("Seed \(seed)", value: $seed, in: 0...9999)
                Button("Run") { editor.inpaint(seed: UInt64(seed)) }
                    .buttonStyle(.borderedProminent).disabled(!editor.canRun)
            }
        }
    }

    @ToolbarContentBuilder private var toolbar: some ToolbarContent {
        ToolbarItem(placement: .topBarLeading) {
            Button("About") { showsAbout = true }
        }
        ToolbarItem(placement: .topBarTrailing) {
            PhotosPicker("Choose a photo", selection: $item, matching: .images).disabled(editor.isBusy)
        }
    }
}
