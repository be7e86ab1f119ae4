package io.moebius.edge.example

import android.net.Uri
import android.os.Bundle
import android.os.SystemClock
import android.view.View
import android.view.WindowManager
import android.widget.Button
import android.widget.ProgressBar
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import io.moebius.edge.Inpainter
import io.moebius.edge.MoebiusException
import io.moebius.edge.Progress
import io.moebius.edge.SelfTest
import io.moebius.edge.ort.OrtGraphRunner
import java.io.IOException
import java.util.concurrent.Executors

/** Choose a photo, mark what is to be removed, run, save. All work is done on one background thread. */
class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor()
    private var model: Model? = null
    private var photo: BitmapPhoto? = null
    private var busy = false

    @Volatile
    private var stopped = false

    private lateinit var canvas: MaskView
    private lateinit var progress: ProgressBar
    private lateinit var status: TextView
    private lateinit var run: Button

    private val picker = registerForActivityResult(ActivityResultContracts.PickVisualMedia()) { uri ->
        if (uri != null) open(uri)
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        canvas = findViewById(R.id.canvas)
        progress = findViewById(R.id.progress)
        status = findViewById(R.id.status)
        run = findViewById(R.id.run)
        findViewById<View>(R.id.choose).setOnClickListener {
            picker.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly))
        }
        findViewById<View>(R.id.clear).setOnClickListener { canvas.clear() }
        findViewById<View>(R.id.save).setOnClickListener { save() }
        findViewById<View>(R.id.self_test).setOnClickListener { selfTest() }
        run.setOnClickListener { if (busy) stopped = true else inpaint() }
        work(getString(R.string.preparing)) {
            getExternalFilesDir(null) // makes the folder that `moebius-edge profile` copies bundles into
            val opened = Model.open(applicationContext)
            onScreen { model = opened }
            getString(R.string.ready, opened.app.model, opened.app.precision)
        }
    }

    override fun onDestroy() {
        stopped = true
        worker.shutdown()
        super.onDestroy()
    }

    private fun open(uri: Uri) = work(getString(R.string.preparing)) {
        val decoded = try {
            BitmapPhoto.decode(contentResolver, uri)
        } catch (error: IOException) {
            throw MoebiusException(getString(R.string.unreadable, error.message), error)
        }
        onScreen {
            photo = decoded
            canvas.show(decoded.bitmap)
        }
        getString(R.string.paint)
    }

    private fun inpaint() {
        val edited = photo ?: return
        val opened = model ?: return
        work(getString(R.string.running, 0, 1)) {
            val begin = SystemClock.elapsedRealtime()
            val mask = canvas.mask(edited.width(), edited.height()) // it is not painted on while this runs
            OrtGraphRunner(opened.bundle, OrtGraphRunner.Unit.CPU, 0).use { runner ->
                val watch = Progress { done, total ->
                    onScreen { showProgress(done, total) }
                    !stopped
                }
                Inpainter(opened.bundle.manifest, runner)
                    .inpaint(edited, mask, opened.bundle.manifest.options(), watch, edited)
            }
            onScreen { canvas.show(edited.bitmap) }
            getString(R.string.done, (SystemClock.elapsedRealtime() - begin) / 1000.0)
        }
    }

    private fun save() {
        val edited = photo ?: return
        work(getString(R.string.save)) {
            Gallery.save(contentResolver, edited.bitmap, "moebius-${System.currentTimeMillis()}.png")
            getString(R.string.saved)
        }
    }

    private fun selfTest() {
        val opened = model ?: return
        work(getString(R.string.testing)) {
            val found = OrtGraphRunner(opened.bundle, OrtGraphRunner.Unit.CPU, 0).use { runner ->
                SelfTest.run(opened.bundle, opened.app, runner)
            }
            val verdict = getString(if (found.ok) R.string.passed else R.string.failed)
            getString(R.string.tested, verdict, found.encoderDb, found.denoiserDb, found.decoderDb, found.holeDb)
        }
    }

    /** Runs `task` in the background and shows the sentence that it gives, or the one of what went wrong. */
    private fun work(first: String, task: () -> String) {
        if (busy) return
        setBusy(true)
        status.text = first
        worker.execute {
            val sentence = try {
                task()
            } catch (error: MoebiusException.Cancelled) {
                getString(R.string.cancelled)
            } catch (error: MoebiusException) {
                error.message
            } catch (error: OutOfMemoryError) {
                getString(R.string.no_memory)
            }
            onScreen {
                setBusy(false)
                status.text = sentence
            }
        }
    }

    private fun setBusy(now: Boolean) {
        busy = now
        stopped = false
        canvas.isEnabled = !now
        for (id in intArrayOf(R.id.choose, R.id.clear, R.id.save, R.id.self_test)) {
            findViewById<View>(id).isEnabled = !now
        }
        run.setText(if (now) R.string.cancel else R.string.run)
        progress.visibility = if (now) View.VISIBLE else View.INVISIBLE
        progress.isIndeterminate = true
        if (now) {
            window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        } else {
            window.clearFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        }
    }

    private fun showProgress(done: Int, total: Int) {
        progress.isIndeterminate = false
        progress.max = total
        progress.progress = done
        status.text = getString(R.string.running, done, total)
    }

    /** On the main thread, unless the screen is gone by then. */
    private fun onScreen(action: () -> Unit) = runOnUiThread { if (!isDestroyed) action() }
}
