package io.moebius.edge.example

import android.content.Context
import io.moebius.edge.AppInfo
import io.moebius.edge.Bundle
import io.moebius.edge.MoebiusException
import java.io.File
import java.io.IOException

/** The bundle of this app, copied out of its assets and checked: engines open files, and assets are none. */
class Model private constructor(val app: AppInfo, val bundle: Bundle) {
    companion object {
        /**
         * Copies the bundle once for each version of it and checks every file by its SHA-256, every time. For a background
         * thread. Throws MoebiusException for assets that are missing or damaged and a full disk.
         */
        fun open(context: Context): Model {
            val app = try {
                context.assets.open("app.json").use { AppInfo.parse(it.readBytes()) }
            } catch (error: IOException) {
                throw MoebiusException("this app has no model: make it with `moebius-edge package`", error)
            }
            val name = "model-${app.filesSha256.take(16)}"
            context.filesDir.listFiles { file: File -> file.name.startsWith("model-") && file.name != name }
                ?.forEach { it.deleteRecursively() }
            val source = Bundle.Source { file -> context.assets.open("${app.modelFolder}/$file") }
            val bundle = Bundle.install(source, context.filesDir.toPath().resolve(name))
            return checked(app, bundle)
        }

        /**
         * The bundle that `moebius-edge profile --device android` has put into the app's external files, else that of the
         * assets. Throws MoebiusException as `open` does.
         */
        fun openPushed(context: Context, folder: File): Model {
            val file = File(folder, "app.json")
            if (!file.isFile) return open(context)
            val app = try {
                AppInfo.parse(file.readBytes())
            } catch (error: IOException) {
                throw MoebiusException("app.json cannot be read: ${error.message}; delete it from $folder", error)
            }
            return checked(app, Bundle.open(folder.toPath().resolve(app.modelFolder)))
        }

        private fun checked(app: AppInfo, bundle: Bundle): Model {
            if (bundle.manifest.fingerprint() != app.filesSha256) {
                throw MoebiusException("app.json is of another bundle than ${app.modelFolder}: make the package again")
            }
            return Model(app, bundle)
        }
    }
}
