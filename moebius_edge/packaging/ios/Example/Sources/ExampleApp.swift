import SwiftUI

@main
struct ExampleApp: App {
    @StateObject private var editor = Editor()

    var body: some Scene {
        WindowGroup {
            EditorView(editor: editor).task { await editor.start(CommandLine.arguments) }
        }
    }
}
